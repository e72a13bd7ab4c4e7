// Who sees and does what: people with several roles, at every page, control and form.
import assert from "node:assert/strict";
import { fill, written } from "./data.mjs";
import { actions, once } from "./pages.mjs";
import { PASSWORD } from "./server.mjs";
import { play } from "./stage.mjs";

// What the accounts of `fill` hold: nobody gives what he does not hold.
const HELD = ["deployments:*", "images:*", "metrics:*", "secrets:*", "incidents:*"];

const PEOPLE = {
  nothing: ["deployments:read"],
  auditor: ["accounts:read", "audit:read", "keys:read", "roles:read"],
  accounts: ["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke", ...HELD],
  // May look after accounts and give them no token.
  helpdesk: ["accounts:read", "accounts:write", ...HELD],
  roles: ["roles:read", "roles:write"],
  keys: ["keys:read", "keys:rotate"],
  nodes: ["nodes:read"],
  admin: ["*:*"],
};

const MENU = {
  Overview: [],
  "Service accounts": ["accounts:read"],
  Users: ["accounts:read"],
  Roles: ["roles:read"],
  Teams: ["roles:read"],
  "Signing keys": ["keys:read"],
  Audit: ["audit:read"],
  Nodes: ["nodes:read"],
  "My account": [],
};

/// All that is wrong is told at once.
const wrong = [];
const check = (isSo, what) => isSo || wrong.push(what);

play(async (stage) => {
  const data = await fill(stage.server);
  await written();
  const all = once(data);
  for (const [name, permissions] of Object.entries(PEOPLE)) {
    const role = name === "admin" ? "admin" : `only-${name}`;
    if (role !== "admin") await stage.server.role(role, permissions);
    const username = `p-${name}`;
    await stage.server.person(username, role);
    const may = (needs = []) => needs.every((permission) => permissions.includes("*:*") || permissions.includes(permission));
    const page = await stage.signedIn(username, PASSWORD);
    const person = { page, name, may };
    await isShownWhatHeMaySee(person);
    const seen = await page.evaluate(reads, all.map(({ path }) => path));
    for (const [number, one] of all.entries()) seesOnlyWhatHeMay(person, one, seen[number], data);
    await doesOnlyWhatHeMay(person, data);
    await page.context().close();
  }
  assert.equal(wrong.length, 0, `\n${wrong.join("\n")}`);
});

async function isShownWhatHeMaySee({ page, name, may }) {
  await page.goto("/console/me");
  const shown = await page.locator("nav.side a").allInnerTexts();
  const allowed = Object.keys(MENU).filter((section) => may(MENU[section]));
  assert.deepEqual(shown, allowed, name);
}

/// What a page holds, as the server wrote it: no style and no script hides anything of it.
function seesOnlyWhatHeMay({ name, may }, { path, heading, needs, status = 200, hidden, controls = {} }, seen, data) {
  const at = `${name} at ${path}`;
  if (!may(needs)) {
    check(seen.status === 403 || (hidden && seen.status === 404), `${at}: ${seen.status}`);
    check(/Not permitted|Not found/.test(seen.text), `${at}: ${seen.text}`);
    // It says so, and nothing of what is there.
    for (const { username } of [data.busy, data.user]) check(!seen.text.includes(username), `${at}: ${seen.text}`);
    check(seen.forms === 0, `${at}: a form`);
    return;
  }
  check(seen.status === status, `${at}: ${seen.status}`);
  if (heading) check(seen.heading === heading, `${at}: ${seen.heading}`);
  for (const [control, demanded] of Object.entries(controls)) {
    check(seen.controls.includes(control) === may(demanded), `${at}: ${control} among ${seen.controls}`);
  }
  // No way leads to where he may not go.
  for (const way of new Set(seen.ways)) check(leads(way, may), `${at}: a way to ${way}`);
}

/// In the browser, as somebody who is signed in: what stands on these pages.
async function reads(paths) {
  const words = (element) => element?.textContent.replace(/\s+/g, " ").trim();
  const read = async (path) => {
    const answer = await fetch(path);
    const main = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    return {
      status: answer.status,
      text: words(main),
      heading: words(main.querySelector("h1")),
      forms: main.querySelectorAll("form").length,
      controls: [...main.querySelectorAll("a, button")].map(words),
      ways: [...main.querySelectorAll('a[href^="/console"]')].map((one) => one.getAttribute("href")),
    };
  };
  return Promise.all(paths.map(read));
}

const WAYS = [
  [/\/service-accounts\/new$|\/users\/new$/, ["accounts:write", "tokens:issue"]],
  [/\/(service-accounts|users)\/[^/]+\/(edit|delete)$/, ["accounts:write"]],
  [/\/[^/]+\/(token|link)$/, ["tokens:issue"]],
  [/\/service-accounts\/[^/]+\/revoke$/, ["tokens:revoke"]],
  [/\/activity$/, ["accounts:read", "audit:read"]],
  [/^\/console\/(service-accounts|users|accounts)/, ["accounts:read"]],
  [/\/(roles|teams)\/(~new|[^/]+\/(edit|delete))$/, ["roles:write"]],
  [/^\/console\/(roles|teams)/, ["roles:read"]],
  [/\/keys\/[^/]+\/revoke$/, ["keys:rotate"]],
  [/^\/console\/keys/, ["keys:read"]],
  [/^\/console\/audit/, ["audit:read"]],
  [/^\/console\/nodes/, ["nodes:read"]],
];

const leads = (way, may) => WAYS.filter(([path]) => path.test(way.split(/[?#]/)[0])).slice(0, 1).every(([, needs]) => may(needs));

/// Each form as our own pages send it, but by hand: with nothing in it, so that nothing comes of it where it is allowed.
async function doesOnlyWhatHeMay({ page, name, may }, data) {
  await page.goto("/console/me");
  const sent = await page.evaluate(async (paths) => {
    const token = document.querySelector('input[name="form_token"]').value;
    const send = (path) => fetch(path, { method: "POST", body: new URLSearchParams({ form_token: token }), redirect: "manual" });
    return Promise.all(paths.map(async (path) => (await send(path)).status));
  }, actions(data).map(([path]) => path));
  for (const [number, [path, needs]] of actions(data).entries()) {
    const status = sent[number];
    check(may(needs) !== (status === 403), `${name} sends ${path}: ${status}`);
    check(status !== 404 && status !== 405 && status < 500, `${name} sends ${path}: ${status}`);
  }
}
