// Text that somebody writes whom nobody trusts, in whichever field: it is read as text, and does nothing.
import assert from "node:assert/strict";
import { fill, written } from "./data.mjs";
import { barePages, once } from "./pages.mjs";
import { PASSWORD, soon } from "./server.mjs";
import { play } from "./stage.mjs";

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

const QUERY = [
  "query", "role", "team", "status", "expires", "cursor", "path", "reason", "outcome", "from", "to", "account", "kind", "node", "address",
  "window", "link",
];

play(async (stage) => {
  const { server } = stage;
  const data = await fill(server);
  await server.person("ada", "admin");
  await writesEverywhere(server, data);
  await written();

  const page = await stage.signedIn("ada", PASSWORD);
  await isReadAsText(page, data);
  await isTypedInEveryField(page, data);
  await isHeldByEveryAddress(page, data);
  await asItIsTyped(page);
  await asItArrives(stage, page, data);
});

/// Into everything that is kept: what people describe, and what clients say of themselves.
async function writesEverywhere(server, data) {
  for (const [name, text] of Object.entries(HOSTILE)) {
    const description = text.slice(0, 500);
    await server.role(`r-${name}`, ["deployments:read"], description);
    await server.team(`t-${name}`, description);
    const { token } = await server.account(`a-${name}`, `r-${name}`, { description, teams: { [`t-${name}`]: "reader" } });
    await server.api("POST", "/users", { username: `u-${name}`, role: `r-${name}`, description });
    // As bytes: a header takes them as they are.
    const bytes = Buffer.from(text.replace(/[\r\n]/g, " ")).toString("latin1");
    for (const spent of [token, data.busy.token]) {
      await server.verify(spent, { path: `/verify/${encodeURIComponent(text)}`, headers: { "user-agent": bytes, "x-request-id": bytes, referer: bytes } });
      await server.verify(spent, { path: "/verify", headers: { "user-agent": bytes, "x-original-uri": bytes, "x-original-method": "GET" } });
    }
  }
}

async function isReadAsText(page, data) {
  const found = Object.keys(HOSTILE).flatMap((name) => [
    { path: `/console/service-accounts?query=a-${name}` }, { path: `/console/users?query=u-${name}` },
    { path: `/console/roles/r-${name}` }, { path: `/console/teams/t-${name}` },
    { path: `/console/roles/r-${name}/edit` }, { path: `/console/teams/t-${name}/edit` },
  ]);
  for (const { path } of [...once(data), ...found]) {
    await page.goto(path, SOON);
    await isHarmless(page);
  }
}

/// As it comes back with what is wrong with it.
async function isTypedInEveryField(page, data) {
  for (const { path } of once(data)) await typesEverywhere(page, path, HOSTILE.closing);
}

/// All parameters at once and, where one of them ends it, alone.
async function isHeldByEveryAddress(page, data) {
  const visit = async (path, names) => {
    await page.goto(`${path}?${new URLSearchParams(names.map((name) => [name, HOSTILE.closing]))}`, SOON);
    await isHarmless(page);
  };
  const bare = barePages({ setup: "/console/setup", password: "/console/password" });
  for (const { path } of [...once(data), ...bare]) await visit(path.split("?")[0], QUERY);
  for (const path of ["/console/service-accounts", "/console/audit", "/console/sign-in"]) {
    for (const name of QUERY) await visit(path, [name]);
  }
  await page.goto(`/console/${encodeURIComponent(HOSTILE.script)}`, SOON);
  await isHarmless(page);
}

/// Nothing of it became an element, a script or a direction of the text.
async function isHarmless(page) {
  const found = await page.evaluate(() => ({
    script: window.__xss,
    elements: document.querySelectorAll("[data-evil], i, script:not([src]), img:not([src*='/assets/']), svg animate, svg set").length,
    handlers: [...document.querySelectorAll("*")].filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))).length,
    links: [...document.querySelectorAll("a[href], form[action]")].filter((one) => {
      return !/^(\/|#|\?|https?:)/.test(one.getAttribute("href") ?? one.getAttribute("action"));
    }).length,
    turned: [...(document.querySelector("main")?.innerText ?? "")].filter((c) => /[\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/.test(c)).length,
    computed: document.body.innerText.includes("2826910770"),
  }));
  const nothing = { script: undefined, elements: 0, handlers: 0, links: 0, turned: 0, computed: false };
  assert.deepEqual(found, nothing, page.url());
}

async function typesEverywhere(page, path, text) {
  await page.goto(path, SOON);
  const forms = await page.locator("main form").count();
  for (let number = 0; number < forms; number += 1) {
    const form = page.locator("main form").nth(number);
    const filled = await form.evaluate((element, typed) => {
      element.noValidate = true;
      // A field that takes no text is made one that does: whoever attacks is not bound by ours.
      const fields = [...element.elements].filter((field) => field.name && !["form_token", "version", "status"].includes(field.name));
      for (const field of fields) {
        if (field.tagName === "SELECT") field.add(new Option(typed, typed, true, true));
        else if (field.tagName !== "BUTTON") { field.type &&= field.tagName === "TEXTAREA" ? field.type : "text"; field.value = typed; }
      }
      return fields.length;
    }, text);
    if (!filled) continue;
    await Promise.all([page.waitForEvent("domcontentloaded"), form.evaluate((element) => element.submit())]);
    await isHarmless(page);
    await page.goto(path, SOON);
    if ((await page.locator("main form").count()) !== forms) return;
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
