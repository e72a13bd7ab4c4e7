// What an attacker tries with somebody else's browser. Nothing works.
import assert from "node:assert/strict";
import { fill } from "./data.mjs";
import { PASSWORD, soon } from "./server.mjs";
import { play } from "./stage.mjs";
import { Stranger, certificate } from "./strangers.mjs";

const SESSION = "__Host-countermark";
const own = certificate();

play(async (stage) => {
  const stranger = await new Stranger(own).listens();
  stage.strangers = new Set(stranger.origins);
  const data = await fill(stage.server);
  await stage.server.person("mallory", "reader");
  await stage.server.person("ada", "admin");

  await aStolenSessionEndsWithIt(stage);
  await aSessionIsNotTheOneThatWasPlanted(stage);
  await nobodyIsSentElsewhere(stage);
  await pathsAreNotTurned(stage, data);
  await stage.expecting(/CORS policy|ERR_FAILED|status of 4\d\d/, () => aFormOfAnotherSiteIsRefused(stage, stranger, data));
  await stage.expecting(/frame-ancestors|Refused to display/, () => noPageIsFramed(stage, stranger));
  await secretsAreInNoAddressAndNoStorage(stage);
  stranger.closes();
}, { certificates: [own.parsed] });

const session = async (page) => (await page.context().cookies()).find(({ name }) => name === SESSION);

/// A browser with a cookie that its owner did not give away.
async function thief(stage, cookie) {
  const context = await stage.visitor();
  await context.addCookies([cookie]);
  return context.newPage();
}

async function isIn(page) {
  const answer = await page.goto("/console/me");
  return answer.status() === 200 && new URL(page.url()).pathname === "/console/me";
}

async function aStolenSessionEndsWithIt(stage) {
  const signOut = (page) => page.getByRole("button", { name: "Sign out" }).click();
  const endings = {
    "signing out": signOut,
    "another password": async (page) => {
      // From another place, while the thief goes on.
      const other = await stage.signedIn("mallory", PASSWORD);
      await other.goto("/console/me");
      await other.getByLabel("Present password").fill(PASSWORD);
      await other.getByLabel("New password").fill(`${PASSWORD} twice`);
      await other.getByLabel("The same password again").fill(`${PASSWORD} twice`);
      await other.getByRole("button", { name: "Change the password" }).click();
      await other.getByText("Your password is changed.").waitFor();
      await other.context().close();
    },
    "the account's end": async () => {
      const { id } = await stage.server.api("GET", "/accounts/mallory");
      await stage.server.api("PATCH", `/accounts/${id}`, { status: "disabled" });
    },
  };
  let password = PASSWORD;
  for (const [ending, end] of Object.entries(endings)) {
    const page = await stage.signedIn("mallory", password);
    await page.goto("/console/me");
    const cookie = await session(page);
    assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite !== "None" && cookie.path === "/", JSON.stringify(cookie));
    assert.equal(cookie.expires, -1);
    assert.equal(await page.evaluate(() => document.cookie), "");
    const stolen = await thief(stage, cookie);
    assert.ok(await isIn(stolen), ending);
    await end(page);
    await soon(`the session ends by ${ending}`, async () => !(await isIn(stolen)));
    const api = await stage.server.call("GET", "/api/v1/self", { headers: { cookie: `${SESSION}=${cookie.value}` } });
    assert.equal(api.status, 401, ending);
    if (ending === "another password") password = `${PASSWORD} twice`;
    await stolen.context().close();
    await page.context().close();
  }
}

async function aSessionIsNotTheOneThatWasPlanted(stage) {
  // One that nobody has been given, and one that an attacker has been given.
  const attacker = await stage.signedInWithToken(stage.server.admin);
  const planted = [{ ...(await session(attacker)), value: "A".repeat(43) }, await session(attacker)];
  for (const cookie of planted) {
    const victim = await thief(stage, cookie);
    await victim.goto("/console/sign-in");
    await victim.getByLabel("Username").fill("ada");
    await victim.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await victim.getByRole("button", { name: "Sign in", exact: true }).click();
    await victim.waitForURL((url) => url.pathname !== "/console/sign-in");
    const given = await session(victim);
    assert.notEqual(given.value, cookie.value);
    const planter = await thief(stage, cookie);
    await planter.goto("/console/me");
    assert.ok(!(await planter.content()).includes("<dd>ada</dd>"), "the attacker is ada");
    await planter.context().close();
    await victim.context().close();
  }
  await attacker.context().close();
}

async function nobodyIsSentElsewhere(stage) {
  const elsewhere = [
    "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "/console//evil.example", "/console/../..//evil.example",
    "/console/%2e%2e//evil.example", "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "/console@evil.example",
    "/console\t//evil.example", "/console\r\nLocation: https://evil.example/", " https://evil.example/", "/consolex", ".evil.example",
  ];
  const page = await stage.signedIn("ada", PASSWORD);
  const form = (to) => stage.server.call("POST", "/console/sign-in", {
    headers: { origin: stage.server.origin, "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ to, token: stage.server.admin }).toString(),
  });
  for (const to of elsewhere) {
    await page.goto(`/console/sign-in?to=${encodeURIComponent(to)}`);
    for (const field of await page.locator('input[name="to"]').all()) assert.equal(await field.inputValue(), "/console", to);
    const sent = await form(to);
    assert.deepEqual([sent.status, sent.headers.location], [303, "/console"], to);
  }
  // Of ours, with what was asked for.
  const ours = "/console/service-accounts?query=a%20b&status=active";
  assert.equal((await form(ours)).headers.location, ours);
  await page.context().close();
}

async function pathsAreNotTurned(stage, data) {
  const account = `/console/service-accounts/${data.busy.id}`;
  const turned = [
    "//console", "//evil.example/console", "/console/", "/console//service-accounts", "/console/../console/me", "/console/%2e%2e/console/me",
    "/console/service-accounts/..%2fme", "/console/service-accounts/%2e%2e/me", "/console/./me", "/console/me/", "/console/me%00", "/console/me%0d%0aSet-Cookie:a=b",
    "/console/me;x=y", "/console\\me", "/CONSOLE/me", "/console/assets/../me", "/console/assets/%2e%2e/%2e%2e/data/keys/master.key",
    "/console/assets/x/../../../../etc/passwd", `${account}/../../me`, `${account}%2ftoken`, `${account}/token/..`,
  ];
  const cookie = async (page) => ({ cookie: `${SESSION}=${(await session(page)).value}` });
  const page = await stage.signedIn("ada", PASSWORD);
  const headers = await cookie(page);
  for (const path of turned) {
    const answer = await stage.server.call("GET", path, { headers });
    const { location } = answer.headers;
    // A page of ours, no page, or the way to a page of ours; nothing of a file, no header of theirs.
    assert.ok([200, 303, 307, 308, 400, 404, 405].includes(answer.status), `${path}: ${answer.status}`);
    assert.ok(location === undefined || /^\/console(\/[\w-]|$)/.test(location), `${path}: ${location}`);
    assert.ok(!answer.text.includes("root:") && !/(^|;)a=b/.test(String(answer.headers["set-cookie"])), path);
    if (answer.headers["content-type"]?.startsWith("text/html")) isGuarded(answer, path);
  }
  // Without a session: not one of them is let in.
  for (const path of turned) {
    const answer = await stage.server.call("GET", path, {});
    assert.ok(!answer.text.includes("form_token") && answer.status !== 200 || path.includes("sign-in"), `${path}: ${answer.status}`);
  }
  await page.context().close();
}

/// The headers of every page.
function isGuarded({ headers }, path) {
  const policy = headers["content-security-policy"] ?? "";
  for (const part of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]) {
    assert.ok(policy.includes(part), `${path}: ${policy}`);
  }
  assert.ok(!/unsafe|\*/.test(policy), policy);
  assert.match(headers["cache-control"] ?? "", /no-store/, path);
  assert.equal(headers["x-content-type-options"], "nosniff", path);
  assert.match(headers["referrer-policy"] ?? "", /^strict-origin$|no-referrer/, path);
}

async function aFormOfAnotherSiteIsRefused(stage, stranger, data) {
  const page = await stage.signedIn("ada", PASSWORD);
  const account = await stage.server.api("GET", `/accounts/${data.unused.id}`);
  const service = `/console/service-accounts/${account.id}`;
  await page.goto("/console/me");
  const formToken = await page.locator('input[name="form_token"]').first().inputValue();
  const forms = [
    ["/console/sign-out", {}],
    [`${service}/status`, { status: "disabled", version: account.version }],
    [`${service}/token`, { valid_for_months: 6, overlap_seconds: 0, version: account.version, generation: account.generation }],
    [`${service}/revoke`, { version: account.version }],
    [`${service}/delete`, { version: account.version, confirm: account.username }],
    ["/console/service-accounts/new", { username: "planted", role: "admin", valid_for_months: 24 }],
    ["/console/users/new", { username: "planted", role: "admin" }],
    ["/console/me/sessions", {}],
    // Somebody else's account, so that what is done then is done in it.
    ["/console/sign-in", { token: stage.server.admin }],
  ];
  const field = ([name, value]) => `<input type="hidden" name="${name}" value="${value}">`;
  const before = (await session(page)).value;
  for (const origin of stranger.origins) {
    // Without what only our pages hold, and, as if it were known, with it.
    for (const token of [{}, { form_token: formToken }]) {
      for (const [path, fields] of forms) {
        const inputs = Object.entries({ ...fields, ...token }).map(field).join("");
        stranger.page = `<!doctype html><form method="post" action="${stage.server.url(path)}">${inputs}</form><script>document.forms[0].submit()</script>`;
        const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
        await page.goto(`${origin}/page`, { waitUntil: "commit" });
        const answer = await answered;
        const status = answer.status();
        // Where the site is another one, the browser keeps the cookie to itself, and nobody is signed in.
        assert.ok(status === 403 || (status === 401 && origin.includes("evil")), `${origin} ${path}: ${status}`);
        await page.waitForLoadState();
      }
    }
  }
  // A script of theirs reads nothing, and sends nothing with the cookie that is taken.
  stranger.page = "<!doctype html><title>stranger</title>";
  for (const origin of stranger.origins) {
    await page.goto(`${origin}/page`);
    const read = await page.evaluate(async ([url, id]) => {
      const asked = await Promise.allSettled([
        fetch(`${url}/console/me`, { credentials: "include" }),
        fetch(`${url}/api/v1/accounts/${id}`, { credentials: "include" }),
        fetch(`${url}/api/v1/accounts/${id}`, { credentials: "include", method: "DELETE" }),
        fetch(`${url}/api/v1/accounts/${id}/token`, {
          method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": "text/plain" }, body: '{"valid_for_months":6}',
        }),
      ]);
      return asked.map(({ status, value }) => value?.type ?? status);
    }, [stage.server.origin, account.id]);
    assert.deepEqual(read, ["rejected", "rejected", "rejected", "opaque"], origin);
  }
  // A link from elsewhere shows a page, and does nothing.
  assert.equal((await session(page)).value, before);
  assert.ok(await isIn(page), "still signed in");
  const after = await stage.server.api("GET", `/accounts/${account.id}`);
  assert.deepEqual([after.version, after.status, after.generation], [account.version, account.status, account.generation]);
  await assert.rejects(stage.server.api("GET", "/accounts/planted"), /404/);
  await page.context().close();
}

async function noPageIsFramed(stage, stranger) {
  const page = await stage.signedIn("ada", PASSWORD);
  for (const origin of stranger.origins) {
    for (const path of ["/console/me", "/console/sign-in", "/docs"]) {
      stranger.page = `<!doctype html><iframe src="${stage.server.url(path)}"></iframe><object data="${stage.server.url(path)}"></object><embed src="${stage.server.url(path)}">`;
      await page.goto(`${origin}/page`);
      const shown = await Promise.all(page.frames().slice(1).map(async (frame) => {
        return frame.evaluate(() => document.body?.innerText ?? "").catch(() => "");
      }));
      for (const text of shown) assert.ok(!/Countermark|ada|password/i.test(text) || /refused to connect/.test(text), `${origin} ${path}: ${text}`);
      assert.equal(await page.evaluate(() => { try { return frames[0].document?.body?.innerText ?? ""; } catch { return ""; } }), "");
    }
  }
  await page.context().close();
}

async function secretsAreInNoAddressAndNoStorage(stage) {
  const page = await stage.signedIn("ada", PASSWORD);
  await page.goto("/console/me");
  const kept = await page.evaluate(async () => [
    ...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie,
    ...(await indexedDB.databases()).map(({ name }) => name), ...(await caches.keys()),
  ].join(""));
  assert.equal(kept, "");
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
  await page.context().close();
}
