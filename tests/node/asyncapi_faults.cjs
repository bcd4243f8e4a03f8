// Prints, as a JSON array, every error the official parser finds in the AsyncAPI document named on the command line.
const { readFileSync } = require("node:fs");
const { Parser, DiagnosticSeverity } = require("@asyncapi/parser");

async function main(file) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
  const faults = diagnostics
    .filter((diagnostic) => diagnostic.severity === 0)
    .map((diagnostic) => `${diagnostic.path.join("/")}: ${diagnostic.message}`);
  if (document === undefined && faults.length === 0) faults.push("the parser gave no document and no reason");
  console.log(JSON.stringify(faults));
}

main(process.argv[2]);
