// Who sees and does what: people with several roles, at every page, control and form.
import assert from "node:assert/strict";
import { fill, written } from "./data.mjs";
import { actions, pages, shape } from "./pages.mjs";
import { PASSWORD } from "./server.mjs";
import { parts, play } from "./stage.mjs";

// What the accounts of `fill` hold: nobody gives what he does not hold.
const HELD = ["deployments:*", "images:*", "metrics:*", "secrets:*", "incidents:*"];

const PEOPLE = {
  nothing: ["deployments:read"],
  // May do everything, but only where a call names the team; no call of the console does.
  team: ["deployments:read"],
  auditor: ["accounts:read", "audit:read", "keys:read", "roles:read"],
  accounts: ["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke", ...HELD],
  // May look after accounts and give them no token.
  helpdesk: ["accounts:read", "accounts:write", ...HELD],
  // May do less than the accounts that he looks after.
  junior: ["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke"],
  roles: ["roles:read", "roles:write"],
  "roles-read": ["roles:read"],
  keys: ["keys:read", "keys:rotate"],
  "keys-read": ["keys:read"],
  "audit-read": ["audit:read"],
  nodes: ["nodes:read"],
  // May change everything and look at nothing: what he is led back to after it, he is refused.
  blind: ["accounts:write", "tokens:issue", "tokens:revoke", "roles:write", "keys:rotate", ...HELD],
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
  const { server } = stage;
  const data = await fill(server);
  const people = [];
  for (const [name, permissions] of Object.entries(PEOPLE)) {
    const role = name === "admin" ? "admin" : `only-${name}`;
    if (role !== "admin") await server.role(role, permissions);
    const { username } = await server.person(`p-${name}`, role, name === "team" ? { teams: { platform: "admin" } } : {});
    people.push({ name, username, may: (needs = []) => needs.every((one) => permissions.some((held) => covers(held, one))) });
  }
  await written();
  // Somebody is signed in whom others may sign out.
  await server.session(data.user.username);
  const accounts = await everybody(server);
  const all = pages(data);
  const forms = new Map(actions(data).map((action) => [shape(action.path), action]));
  for (const person of people) {
    person.page = await stage.letIn(person.username);
    // What tells of somebody else.
    person.others = anyOf(accounts.filter(({ username }) => username !== person.username).flatMap(({ id, username }) => [id, username]));
    await isShownWhatHeMaySee(person);
    await hasTwoSessions(person);
    const seen = await of(all.map(({ path }) => path), (paths) => person.page.evaluate(reads, { paths, others: person.others }));
    for (const [number, one] of all.entries()) seesOnlyWhatHeMay(person, one, seen[number], forms);
    if (person.name === "team") await mayDoNothingWithoutTheTeam(person);
    if (person.name === "admin") await everyFormIsKnown(stage, all, seen, forms);
    await doesOnlyWhatHeMay(person, [...forms.values()]);
    await person.page.context().close();
  }
  assert.equal(wrong.length, 0, `\n${wrong.join("\n")}`);
});

/// What comes of each: some at a time, as a store that is asked for all of them at once may be late.
async function of(all, act) {
  const found = [];
  for (const some of parts(all, 10)) found.push(...(await act(some)));
  return found;
}

/// A pattern that finds these as whole words.
const anyOf = (names) => `(?<![\\w.-])(${names.map((name) => name.replaceAll(".", "\\.")).join("|")})(?![\\w-])`;

/// `deployments:*` and `*:read` cover `deployments:read`.
const covers = (held, wanted) => held.split(":").every((half, number) => half === "*" || half === wanted.split(":")[number]);

/// Every account: but for the first admin's, which has the name of its role.
async function everybody(server) {
  const all = [];
  for (let cursor = ""; cursor !== undefined; ) {
    const { items, next_cursor: next } = await server.api("GET", `/accounts?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    all.push(...items);
    cursor = next ?? undefined;
  }
  assert.ok(all.length > Object.keys(PEOPLE).length);
  return all.filter(({ username }) => username !== "admin");
}

async function isShownWhatHeMaySee({ page, name, may }) {
  const shown = await page.locator("nav.side a").allInnerTexts();
  const allowed = Object.keys(MENU).filter((section) => may(MENU[section]));
  assert.deepEqual(shown, allowed, name);
}

/// His browser begins another one: it is known, and not counted among those that guess.
async function hasTwoSessions({ page, username, name }) {
  const status = await page.evaluate(async (fields) => {
    return (await fetch("/console/sign-in", { method: "POST", body: new URLSearchParams(fields) })).status;
  }, { username, password: PASSWORD, to: "/console/me" });
  assert.equal(status, 200, name);
}

/// What a page holds, as the server wrote it: no style and no script hides anything of it.
function seesOnlyWhatHeMay({ name, may }, one, seen, forms) {
  const { path, heading, needs, status = 200, hidden, controls = {}, never = [] } = one;
  const at = `${name} at ${one.name}, ${path}`;
  if (!may(["accounts:read"]) && !may(["audit:read"])) check(seen.named.length === 0, `${at}: tells of ${seen.named}`);
  if (!may(needs)) {
    check(seen.status === 403 || (hidden && seen.status === 404), `${at}: ${seen.status}`);
    check(/Not permitted|Not found/.test(seen.text), `${at}: ${seen.text}`);
    // It says so, and nothing of what is there.
    check(seen.named.length === 0, `${at}: tells of ${seen.named}`);
    check(seen.forms.length === 0, `${at}: a form`);
    return;
  }
  check(seen.status === status, `${at}: ${seen.status}`);
  if (heading) check(seen.heading === heading, `${at}: ${seen.heading}`);
  for (const [control, demanded] of Object.entries(controls)) {
    check(seen.controls.includes(control) === may(demanded), `${at}: ${control} among ${seen.controls}`);
  }
  for (const control of never) check(!seen.controls.includes(control), `${at}: ${control}`);
  // No way leads to where he may not go, and no form does what he may not do.
  for (const way of new Set(name === "blind" ? [] : seen.ways)) check(leads(way, may), `${at}: a way to ${way}`);
  for (const form of seen.forms) check(may(forms.get(shape(form))?.needs), `${at}: a form for ${form}`);
}

/// In the browser, as somebody who is signed in: what stands on these pages.
async function reads({ paths, others }) {
  const words = (element) => element?.textContent.replace(/\s+/g, " ").trim();
  const read = async (path) => {
    const answer = await fetch(path);
    const text = await answer.text();
    const main = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    const forms = [...main.querySelectorAll("form[method=post], [formaction]")];
    return {
      status: answer.status,
      text: words(main),
      heading: words(main.querySelector("h1")),
      forms: forms.map((form) => form.getAttribute("formaction") ?? form.getAttribute("action")),
      controls: [...main.querySelectorAll("a, button")].map(words),
      ways: [...main.querySelectorAll('a[href^="/console"]')].map((one) => one.getAttribute("href")),
      named: [...new Set(text.match(new RegExp(others, "g")))],
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

/// He is told what he may do in the team, and the API lets him do it no more than the console does.
async function mayDoNothingWithoutTheTeam({ page, name }) {
  const [status, self, me] = await page.evaluate(async () => {
    const [accounts, self, me] = await Promise.all(["/api/v1/accounts", "/api/v1/self", "/console/me"].map((path) => fetch(path)));
    return [accounts.status, await self.json(), await me.text()];
  });
  assert.equal(status, 403);
  assert.deepEqual([self.permissions, self.team_permissions], [PEOPLE[name], { platform: ["*:*"] }]);
  assert.ok(me.includes("In the team platform"), me);
}

/// Whatever a page sends, or is sent to, stands in the list of what is tried; and what stands there is somewhere to be sent from.
async function everyFormIsKnown(stage, all, seen, forms) {
  const found = new Set(seen.flatMap((page) => page.forms).map(shape));
  // What can be sent to a page it says itself when it is asked for something else.
  const ask = async ({ path }) => {
    const { status, headers } = await stage.server.call("DELETE", path);
    check(status === 405, `${path} can be deleted: ${status}`);
    return { path, takes: headers.allow ?? "" };
  };
  const asked = await of(all.filter(({ status }) => status !== 404), (some) => Promise.all(some.map(ask)));
  for (const { path } of asked.filter(({ takes }) => takes.includes("POST"))) found.add(shape(path));
  for (const form of found) check(forms.has(form), `nobody tries to send ${form}`);
  // These stand on every page, or on those of strangers.
  const elsewhere = ["sign-in", "sign-out", "setup", "password"].map((name) => `/console/${name}`);
  for (const [form, { brief }] of forms) check(brief || found.has(form) || elsewhere.includes(form), `nobody is led to ${form}`);
}

/// Each form as our own pages send it, but by hand: with nothing in it, so that nothing comes of it where it is allowed.
async function doesOnlyWhatHeMay({ page, name, may, others }, all) {
  const sent = await of(all, (some) => page.evaluate(sends, { all: some, others }));
  for (const [number, { path, needs }] of all.entries()) {
    const { status, named } = sent[number];
    check(may(needs) !== (status === 403), `${name} sends ${path}: ${status}`);
    check(status !== 404 && status !== 405 && status < 500, `${name} sends ${path}: ${status}`);
    if (!may(["accounts:read"])) check(named.length === 0, `${name} sends ${path}: tells of ${named}`);
  }
  const last = await page.evaluate(async () => new URL((await fetch("/console/me")).url).pathname);
  check(last === "/console/sign-in", `${name} is signed out, and still at ${last}`);
}

/// In the browser, as somebody who is signed in: what comes of these forms. What ends the session comes last.
async function sends({ all, others }) {
  const page = new DOMParser().parseFromString(await (await fetch("/console/me")).text(), "text/html");
  const token = page.querySelector('input[name="form_token"]').value;
  const send = async ({ path, fields = {} }) => {
    const answer = await fetch(path, { method: "POST", body: new URLSearchParams({ form_token: token, ...fields }), redirect: "manual" });
    return { status: answer.status, named: (await answer.text()).match(new RegExp(others, "g")) ?? [] };
  };
  const sent = await Promise.all(all.slice(0, -1).map(send));
  return [...sent, await send(all.at(-1))];
}
