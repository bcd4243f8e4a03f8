// Keeps the page current: fetches it again and swaps the parts marked data-live. Without it the page still works.

const SECOND = 1000;
const refreshSeconds = Number(document.body.dataset.refreshSeconds);
const stale = document.querySelector("[data-stale]");
const announce = document.querySelector("[data-announce]");
const pause = document.querySelector(".pause");

let paused = false;
let failing = false;

function markChanges(before, after) {
  const old = [...before.querySelectorAll("[data-figure]")].map((figure) => figure.textContent);
  [...after.querySelectorAll("[data-figure]")].forEach((figure, index) => {
    if (index < old.length && old[index] !== figure.textContent) figure.classList.add("changed");
  });
  const known = new Set([...before.querySelectorAll("[data-row]")].map((row) => row.dataset.row));
  for (const row of after.querySelectorAll("[data-row]")) {
    if (!known.has(row.dataset.row)) row.classList.add("changed");
  }
}

function isBeingUsed(part) {
  const selection = document.getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

function swap(fresh) {
  const focused = document.activeElement?.id;
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!next || isBeingUsed(part)) continue;
    markChanges(part, next);
    part.replaceWith(document.adoptNode(next));
  }
  if (focused && document.activeElement === document.body) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

function say(message) {
  if (failing && stale.textContent === message) return;
  failing = true;
  stale.textContent = message;
  stale.hidden = false;
}

function recovered() {
  if (!failing) return;
  failing = false;
  stale.hidden = true;
  stale.textContent = "";
  announce.textContent = "The hub answers again. The page is current.";
}

function asOf() {
  return document.querySelector('[data-live="as-of"] time')?.textContent ?? "an earlier time";
}

async function refresh() {
  let answer;
  try {
    answer = await fetch(location.href, { signal: AbortSignal.timeout(5 * SECOND) });
  } catch {
    say(`The hub has stopped answering. This page shows how things stood on ${asOf()}. Trying again.`);
    return true;
  }
  if (answer.status === 401 || answer.status === 403) {
    say("Your sign-in has ended. Run “hub sign-in” on the hub's machine and open the link it prints.");
    return false;
  }
  if (!answer.ok) {
    say(`The hub cannot read its figures. This page shows how things stood on ${asOf()}. Trying again.`);
    return true;
  }
  swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
  recovered();
  return true;
}

async function run() {
  let goOn = true;
  while (goOn) {
    await new Promise((resolve) => setTimeout(resolve, refreshSeconds * SECOND));
    if (!paused && !document.hidden) goOn = await refresh();
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
});
run();
