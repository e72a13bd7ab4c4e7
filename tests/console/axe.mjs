// Every page, light and dark, wide and narrow: axe-core finds nothing, nothing scrolls sideways, and each is seen in a picture.
//
// axe-core is put into a page by the debugger, which no policy of the page binds: the pages are as they are for everybody.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fill, written } from "./data.mjs";
import { actions, afterForms, barePages, pages, refusedPages, shape } from "./pages.mjs";
import { soon } from "./server.mjs";
import { play } from "./stage.mjs";

const { source } = createRequire(import.meta.url)("axe-core");

const SIZES = { wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 740 } };
/// Besides what WCAG 2.2 AA demands, what axe-core holds to be good practice.
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

play(async (stage) => {
  const setup = new URL(stage.server.setupUrl);
  const data = await fill(stage.server, { plenty: true });
  const invited = await stage.server.api("POST", "/users", { username: "not-yet-here", role: "reader" });
  const link = new URL(invited.link);
  await stage.server.person("ada", "admin");
  await stage.server.role("nothing", ["deployments:read"]);
  await stage.server.person("joe", "nothing", { teams: { platform: "on-call" } });
  await written();
  const found = [];
  const within = async (page, all) => {
    // One that can't be looked at keeps nobody from the others.
    for (const one of all) found.push(...(await look(stage, page, one).catch((error) => [`${one.name}: ${error.message}`])));
  };
  const page = await stage.letIn("ada");
  const all = pages(data);
  await within(page, all.slice(1));
  await within(page, afterForms(data));
  await within(await stage.letIn("joe"), refusedPages());
  await within(await (await stage.visitor()).newPage(), barePages({ setup: setup.pathname + setup.search, password: link.pathname + link.search }));
  // Accounts are counted once a minute.
  const counted = async () => (await stage.server.api("GET", "/overview")).accounts.census.service_accounts.total > 50;
  await soon("the accounts are counted", counted, 70_000);
  await within(page, all.slice(0, 1));
  const known = new Set(actions(data).map(({ path }) => shape(path)));
  for (const form of forms) if (!known.has(form)) found.push(`a form for ${form}: nobody tries what comes of it`);
  assert.equal(found.length, 0, `\n${found.join("\n")}`);
});

/// Where forms are sent, of all pages that are looked at.
const forms = new Set();

/// The faults of a page, wide and narrow, in light and dark. No script asks for the width: it is the same page in all of them.
async function look(stage, page, { name, path, status = 200, then }) {
  const faults = [];
  await page.setViewportSize(SIZES.wide);
  await page.emulateMedia({ colorScheme: "light" });
  const answer = await page.goto(path);
  if (!then && answer.status() !== status) faults.push(`${name}: ${answer.status()} at ${path}`);
  await then?.(page, stage.requests);
  for (const form of await page.evaluate(sent)) forms.add(shape(form));
  await page.evaluate(source);
  for (const [width, size] of Object.entries(SIZES)) {
    await page.setViewportSize(size);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const seen = `${name}-${width}-${colorScheme}`;
      await stage.screenshot(page, seen);
      // Colours are all that is different in the dark.
      const rules = colorScheme === "dark" ? { type: "rule", values: ["color-contrast"] } : { type: "tag", values: TAGS };
      faults.push(...(await page.evaluate(examine, rules)).map((fault) => `${seen}: ${fault}`));
    }
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (over > 0) faults.push(`${name}-${width}: the page is ${over} px wider than the screen`);
  }
  return faults;
}

/// In the page: where its forms are sent.
const sent = () => [...document.querySelectorAll("form[method=post]")].map((form) => form.getAttribute("action"));

/// In the page: what axe-core holds against it.
async function examine(runOnly) {
  const { violations } = await globalThis.axe.run(document, { runOnly, resultTypes: ["violations"], preload: false });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}
