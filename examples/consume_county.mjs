// Take one agency's contacts from its topic: node consume_county.mjs 885 childrens_services
import { access, mkdir, open, readFile, rename, writeFile } from "node:fs/promises";
import { Kafka, logLevel } from "kafkajs";

const [authority, agency] = process.argv.slice(2);
const { env } = process;
const topic = `${env.KAFKA_PREFIX ?? ""}partner.${authority}.${agency}.v1`;
const groupId = `${env.KAFKA_PREFIX ?? ""}partner.${authority}.${agency}.contacts`;
const protocol = env.KAFKA_SECURITY_PROTOCOL ?? "SASL_SSL";
const mechanism = env.KAFKA_SASL_MECHANISM ?? "SCRAM-SHA-512";
const pem = async (name) => env[name] && readFile(env[name]);

const kafka = new Kafka({
  clientId: groupId,
  brokers: env.KAFKA_BROKERS.split(","),
  logLevel: logLevel.ERROR,
  ssl: protocol.endsWith("SSL") && {
    ca: await pem("KAFKA_CA_FILE"), cert: await pem("KAFKA_CERT_FILE"), key: await pem("KAFKA_KEY_FILE"),
  },
  sasl: protocol.startsWith("SASL")
    ? { mechanism: mechanism.toLowerCase(), username: env.KAFKA_USERNAME, password: env.KAFKA_PASSWORD }
    : undefined,
});
// A contact may be as large as a record may be.
const consumer = kafka.consumer({ groupId, maxBytesPerPartition: 8_388_608 });

// Stores a contact once, whole or not at all; says whether it was new.
async function store(messageId, body) {
  const file = `contacts/${messageId}`;
  if (await access(file).then(() => true, () => false)) return false;
  await writeFile(`${file}.part`, body, { mode: 0o600, flush: true });
  await rename(`${file}.part`, file);
  const folder = await open("contacts");
  await folder.sync();
  await folder.close();
  return true;
}

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => consumer.disconnect().then(() => process.exit(0)));
}
// kafkajs tries again by itself whatever may pass; what may not ends the program, for its supervisor to see.
consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || process.exit(1));

await mkdir("contacts", { recursive: true, mode: 0o700 });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ partition, message }) => {
    const messageId = message.headers.ce_id.toString();
    const isNew = await store(messageId, message.value);
    await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(message.offset) + 1n) }]);
    console.log(isNew ? "stored" : "seen before", messageId);
  },
});
