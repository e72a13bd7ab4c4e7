// Text that somebody writes whom nobody trusts, in whichever field: it is read as text, and does nothing.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { fill, written } from "./data.mjs";
import { barePages, once, shape } from "./pages.mjs";
import { soon } from "./server.mjs";
import { parts, play } from "./stage.mjs";

/// Scripts have run by then.
const SOON = { waitUntil: "domcontentloaded" };

const HOSTILE = {
  script: "<script>window.__xss=1;alert(1)</script><i data-evil>",
  closing: "\"'></textarea></title></style></script><script>window.__xss=1;alert(1)</script><i data-evil>",
  image: "<img src=x data-evil onerror=\"window.__xss=1;alert(1)\">",
  svg: "<svg data-evil onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s><set data-evil>",
  attribute: "\" autofocus onfocus=\"window.__xss=1;alert(1)\" data-evil x=\"",
  template: "{{90210*31337}}${90210*31337}<%= 90210*31337 %><i data-evil>",
  address: "javascript:alert(1)//<a data-evil href=javascript:alert(1)>",
  comment: "--><i data-evil><!--",
  turning: "abc\u202Etxt.exe\u2066\u2069\u200F\u061C<i data-evil>",
  marks: `e${"\u0301".repeat(480)}<i data-evil>`,
};

const TEXTS = Object.values(HOSTILE);

/// All that is wrong is told at once, but once of each page.
const wrong = new Map();
const check = (isSo, at, what) => isSo || wrong.set(shape(at), `${at}: ${JSON.stringify(what)}`);

const QUERY = [
  "query", "role", "team", "status", "expires", "cursor", "path", "reason", "outcome", "from", "to", "account", "kind", "node", "address",
  "window", "link",
];

play(async (stage) => {
  const { server } = stage;
  const setup = new URL(server.setupUrl);
  const data = await fill(server);
  await server.person("ada", "admin");
  const link = new URL((await server.api("POST", "/users", { username: "not-yet-here", role: "reader" })).link);
  const bare = barePages({ setup: setup.pathname + setup.search, password: link.pathname + link.search }).filter(({ status }) => !status);
  const accounts = await writesEverywhere(server, data);
  await written();

  const page = await stage.letIn("ada");
  const all = once(data).map(({ path }) => path);
  await isReadAsText(page, all, accounts);
  await isTypedInEveryField(page, all, bare.map(({ path }) => path));
  await isHeldByEveryAddress(page, [...all, ...bare.map(({ path }) => path)]);
  await asItIsTyped(page);
  await asItArrives(stage, page, data);
  assert.equal(wrong.size, 0, `\n${[...wrong.values()].join("\n")}`);
});

/// Into everything that is kept: what people describe, and what clients say of themselves. The pages of the accounts.
async function writesEverywhere(server, data) {
  const written = Object.entries(HOSTILE).map(async ([name, text]) => {
    const description = text.slice(0, 500);
    await Promise.all([server.role(`r-${name}`, ["deployments:read"], description), server.team(`t-${name}`, description)]);
    const made = await server.account(`a-${name}`, `r-${name}`, { description, teams: { [`t-${name}`]: "reader" } });
    const { account: user } = await server.api("POST", "/users", { username: `u-${name}`, role: `r-${name}`, description });
    // As bytes: a header takes them as they are.
    const bytes = Buffer.from(text.replace(/[\r\n]/g, " ")).toString("latin1");
    for (const spent of [made.token, data.busy.token]) {
      await server.verify(spent, { path: `/verify/${encodeURIComponent(text)}`, headers: { "user-agent": bytes, "x-request-id": bytes, referer: bytes } });
      await server.verify(spent, { path: "/verify", headers: { "user-agent": bytes, "x-original-uri": bytes, "x-original-method": "GET" } });
    }
    return { service: `/console/service-accounts/${made.id}`, user: `/console/users/${user.id}` };
  });
  return Promise.all(written);
}

/// The pages are seen; those that only differ by what is written there are read as the server writes them.
async function isReadAsText(page, all, accounts) {
  for (const path of [...all, ...accounts.map(({ service }) => service)]) await isSeen(page, path);
  const found = Object.keys(HOSTILE).flatMap((name) => [
    `/console/service-accounts?query=a-${name}`, `/console/users?query=u-${name}`, `/console/roles/r-${name}`, `/console/teams/t-${name}`,
    `/console/roles/r-${name}/edit`, `/console/teams/t-${name}/edit`,
  ]);
  const ofAccounts = accounts.flatMap(({ service, user }) => [`${service}/activity`, `${service}/edit`, user, `${user}/edit`]);
  const read = await inTurns(page, [...found, ...ofAccounts], asWritten, {});
  for (const { at, status } of read) check(status === 200, at, status);
}

/// As it comes back with what is wrong with it: each field gets each text, in one form after another. A few forms are sent and seen; the
/// others, and all of these with other texts, are read as the server answers them.
async function isTypedInEveryField(page, all, bare) {
  const isEdited = /\/(new|~new|edit|me|audit|keys|service-accounts)$/;
  for (const [number, path] of all.filter((path) => isEdited.test(path)).entries()) await typesEverywhere(page, path, number);
  const back = new Set();
  for (const round of TEXTS.keys()) {
    const sent = await inTurns(page, [...all, ...new Set(bare)], formsAsAnswered, { texts: TEXTS, round });
    for (const { echoed } of sent) for (const text of echoed) back.add(text);
  }
  for (const text of TEXTS) check(back.has(text), text, "it comes back in no field");
  // What nobody types.
  await inTurns(page, all, formsAsAnswered, { texts: TEXTS, round: 0, also: ["version", "status"] });
}

/// All parameters at once and, where one of them ends it, alone.
async function isHeldByEveryAddress(page, all) {
  const bare = [...new Set(all.map((path) => path.split("?")[0]))];
  const query = (round) => new URLSearchParams(QUERY.map((name, number) => [name, TEXTS[(number + round) % TEXTS.length]]));
  for (const round of TEXTS.keys()) await inTurns(page, bare.map((path) => `${path}?${query(round)}`), asWritten, {});
  const lists = ["/console/service-accounts", "/console/audit", "/console/sign-in"];
  const alone = lists.flatMap((path) => QUERY.map((name) => `${path}?${new URLSearchParams({ [name]: HOSTILE.closing })}`));
  await inTurns(page, [...alone, `/console/${encodeURIComponent(HOSTILE.script)}`], asWritten, {});
  for (const [round, path] of lists.entries()) await isSeen(page, `${path}?${query(round)}`);
}

/// In the browser: what a page holds that text should not have become. In a text area it stays as it was typed.
function harm(page) {
  const every = (selector) => [...page.querySelectorAll(selector)];
  return {
    elements: every("[data-evil], i, script:not([src]), img:not([src*='/assets/']), svg animate, svg set").length,
    handlers: every("*").filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))).length,
    links: every("a[href], form[action]").filter((one) => !/^(\/|#|\?|https?:)/.test(one.getAttribute("href") ?? one.getAttribute("action"))).length,
    turned: every("main *:not(textarea)").flatMap((one) => [...one.childNodes]).filter((one) => {
      return one.nodeType === Node.TEXT_NODE && /[\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/.test(one.data);
    }).map(({ data }) => data),
    computed: page.body.textContent.includes("2826910770"),
  };
}

const NOTHING = { elements: 0, handlers: 0, links: 0, turned: [], computed: false };
const isNothing = (harm) => isDeepStrictEqual(harm, NOTHING);

/// Nothing of it became an element, a script or a direction of the text.
async function isHarmless(page) {
  const [script, found] = await page.evaluate(`[window.__xss, (${harm})(document)]`);
  check(script === undefined && isNothing(found), page.url().replace(/^https:..[^/]+/, ""), { script, ...found });
}

async function isSeen(page, path) {
  await page.goto(path, SOON);
  await isHarmless(page);
}

/// What a function finds in the browser at these paths, some at a time. Each answer is one of ours, and harmless.
async function inTurns(page, paths, act, more) {
  const found = [];
  for (const some of parts(paths, 8)) found.push(...(await page.evaluate(`(${act})(${JSON.stringify({ paths: some, ...more })}, ${harm})`)));
  for (const { at, status, harm } of found) {
    check(isNothing(harm), at, harm);
    check(status < 500, at, status);
  }
  assert.ok(found.length > 0);
  return found;
}

/// In the browser: these pages, as the server writes them.
function asWritten({ paths }, harm) {
  return Promise.all(paths.map(async (path) => {
    const answer = await fetch(path);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return { at: path, status: answer.status, harm: harm(page) };
  }));
}

/// In the browser: what comes back when the forms of these pages are sent with these texts, and which of them come back in a field.
async function formsAsAnswered({ paths, texts, round, also = [] }, harm) {
  const parsed = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");
  const kept = ["form_token", "version", "status"].filter((name) => !also.includes(name));
  const send = async (form) => {
    const named = [...form.elements].filter(({ name }) => name);
    const typed = [...new Set(named.map(({ name }) => name))].filter((name) => !kept.includes(name));
    if (!typed.length) return [];
    const fields = new URLSearchParams(named.filter(({ name }) => kept.includes(name)).map(({ name, value }) => [name, value]));
    typed.forEach((name, number) => fields.set(name, texts[(number + round) % texts.length]));
    const action = form.getAttribute("action");
    const answer = await (form.method === "get" ? fetch(`${action}?${fields}`) : fetch(action, { method: "POST", body: fields }));
    const page = await parsed(answer);
    const values = [...page.querySelectorAll("main input, main textarea")].map(({ value }) => value);
    return [{ at: action, status: answer.status, harm: harm(page), echoed: texts.filter((text) => values.includes(text)) }];
  };
  const ofPage = async (path) => {
    const sent = [];
    for (const form of (await parsed(await fetch(path))).querySelectorAll("main form")) sent.push(...(await send(form)));
    return sent;
  };
  return (await Promise.all(paths.map(ofPage))).flat();
}

/// The forms of a page, with a browser and one after another.
async function typesEverywhere(page, path, round) {
  await page.goto(path, SOON);
  const forms = await page.locator("main form").count();
  for (let number = 0; number < forms; number += 1) {
    const form = page.locator("main form").nth(number);
    const filled = await form.evaluate((element, [texts, round]) => {
      element.noValidate = true;
      // A field that takes no text is made one that does: whoever attacks is not bound by ours.
      const fields = [...element.elements].filter((field) => field.name && !["form_token", "version", "status"].includes(field.name));
      for (const [number, field] of fields.entries()) {
        const typed = texts[(number + round) % texts.length];
        if (field.tagName === "SELECT") field.add(new Option(typed, typed, true, true));
        else if (field.tagName !== "BUTTON") { field.type &&= field.tagName === "TEXTAREA" ? field.type : "text"; field.value = typed; }
      }
      return fields.length;
    }, [TEXTS, round]);
    if (!filled) continue;
    await Promise.all([page.waitForEvent("domcontentloaded"), form.evaluate((element) => element.submit())]);
    await isHarmless(page);
    if (number + 1 < forms) await page.goto(path, SOON);
  }
}

/// The list is changed while somebody types.
async function asItIsTyped(page) {
  await page.goto("/console/service-accounts");
  await page.getByRole("searchbox").pressSequentially("a-scr");
  await page.getByRole("link", { name: "a-script" }).waitFor();
  await page.getByRole("link", { name: "ci-deploy" }).waitFor({ state: "detached" });
  await isHarmless(page);
}

/// Rows that a script adds.
async function asItArrives(stage, page, data) {
  await page.goto("/console/audit");
  await page.getByRole("button", { name: "Follow live" }).click();
  await page.getByText("Following live").waitFor();
  for (const text of Object.values(HOSTILE)) {
    const bytes = Buffer.from(text).toString("latin1");
    await stage.server.verify(data.busy.token, { path: `/verify/arrives/${encodeURIComponent(text)}`, headers: { "user-agent": bytes } });
  }
  await soon("the rows arrive", async () => (await page.locator("tr.new-row").count()) >= Object.keys(HOSTILE).length);
  await isHarmless(page);
}
