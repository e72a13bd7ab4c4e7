// A script's stage: a browser, and an eye on everything that may never happen in it.
import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import tls from "node:tls";
import { chromium } from "playwright-core";
import { Server } from "./server.mjs";

/// Of a whole script, the browser's start and end included.
const SECONDS = Number(process.env.COUNTERMARK_TEST_SECONDS ?? 560);

/// Plays a script: `node SCRIPT.mjs DATA-DIRECTORY SCREENSHOTS [WORDS]`. The browser is closed whatever comes of it.
export async function play(script, { certificates = [] } = {}) {
  const [data, screenshots, ...words] = process.argv.slice(2);
  const server = new Server(data);
  mkdirSync(screenshots, { recursive: true });
  const browser = await launch([await certificateOf(server), ...certificates]);
  const stage = new Stage(server, browser, screenshots, words);
  let late;
  try {
    const limit = new Promise((_, failed) => {
      late = setTimeout(() => failed(new Error(`not through within ${SECONDS} s`)), SECONDS * 1000);
    });
    await Promise.race([script(stage), limit]);
    stage.nothingHappened();
  } catch (error) {
    console.error(error);
    await stage.tell();
    process.exitCode = 1;
  } finally {
    clearTimeout(late);
    await browser.close();
    // A client that a script left behind goes no further.
    process.exit();
  }
}

/// Some at a time.
export function* parts(all, size) {
  for (let first = 0; first < all.length; first += size) yield all.slice(first, first + size);
}

function launch(certificates) {
  const keys = certificates.map((certificate) => {
    const key = certificate.publicKey.export({ type: "spki", format: "der" });
    return createHash("sha256").update(key).digest("base64");
  });
  return chromium.launch({
    executablePath: process.env.COUNTERMARK_TEST_CHROMIUM || found("chromium"),
    timeout: 30_000,
    args: [
      // The browser knows no CA of ours: it accepts these certificates and no other one.
      `--ignore-certificate-errors-spki-list=${keys.join(",")}`,
      // Nothing leaves the machine, and two names of strangers are here.
      "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ],
  });
}

function found(program) {
  for (const folder of process.env.PATH.split(delimiter)) {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return join(folder, program);
    } catch { /* The next one. */ }
  }
  throw new Error(`${program} is missing: run scripts/setup test, or set COUNTERMARK_TEST_CHROMIUM`);
}

/// The server's certificate, which its CA has signed.
function certificateOf(server) {
  const { hostname, port } = new URL(server.origin);
  return new Promise((done, failed) => {
    const socket = tls.connect({ host: hostname, port, servername: hostname, ca: server.agent.options.ca }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.end();
      done(new X509Certificate(raw));
    });
    socket.on("error", failed);
  });
}

export class Stage {
  constructor(server, browser, screenshots, words) {
    Object.assign(this, { server, browser, screenshots, words });
    this.faults = [];
    this.requests = 0;
  }

  /// Somebody's browser: cookies of his own, and eyes on what happens in it.
  async visitor(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, baseURL: this.server.origin, ...options });
    context.setDefaultTimeout(10_000);
    this.#watch(context);
    return context;
  }

  #watch(context) {
    const fault = (what) => this.faults.push(what);
    context.on("request", (request) => {
      this.requests += 1;
      const { origin, protocol } = new URL(request.url());
      const ours = origin === this.server.origin || ["data:", "blob:"].includes(protocol);
      if (!ours && !this.strangers?.has(origin)) fault(`a request to a third party: ${request.url()}`);
    });
    context.on("console", (message) => {
      // The browser says of a page that it says no, and of a field that what was typed into it before is no date.
      const isRefusal = /status of 4\d\d/.test(message.text()) && !message.location().url.includes("/assets/");
      if (/does not conform to the required format/.test(message.text())) return;
      if (["error", "warning"].includes(message.type()) && !isRefusal) {
        fault(`console, at ${message.page()?.url()}: ${message.text()}`);
      }
    });
    context.on("weberror", (error) => fault(`a script failed: ${error.error().stack}`));
    context.on("dialog", async (dialog) => {
      fault(`a dialog, at ${dialog.page()?.url()}: ${dialog.message()}`);
      await dialog.dismiss();
    });
  }

  /// A page of a person who has signed in by the form.
  async signedIn(username, password, options = {}) {
    const page = await (await this.visitor(options)).newPage();
    await page.goto("/console/sign-in?to=/console/me");
    await page.getByLabel("Username").fill(username);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.waitForURL((url) => !url.pathname.startsWith("/console/sign-in"));
    return page;
  }

  /// His page, for whom it is all the same how he got in.
  async letIn(username, options = {}) {
    const context = await this.visitor(options);
    await context.addCookies(await this.server.session(username));
    const page = await context.newPage();
    await page.goto("/console/me", { waitUntil: "domcontentloaded" });
    return page;
  }

  /// A page of an account that has signed in by its token.
  async signedInWithToken(token, options = {}) {
    const page = await (await this.visitor(options)).newPage();
    await page.goto("/console/sign-in?to=/console/me");
    await page.getByText("Sign in with a token instead").click();
    await page.getByLabel("Token of an account").fill(token);
    await page.getByRole("button", { name: "Sign in with the token" }).click();
    await page.waitForURL((url) => !url.pathname.startsWith("/console/sign-in"));
    return page;
  }

  /// A picture of the whole page, however long. Asked for by the protocol, which takes half the time.
  async screenshot(page, name) {
    const protocol = await page.context().newCDPSession(page);
    const { data } = await protocol.send("Page.captureScreenshot", { captureBeyondViewport: true, optimizeForSpeed: true });
    await protocol.detach();
    writeFileSync(join(this.screenshots, `${name}.png`), data, "base64");
  }

  /// What the browser says of an attack that it stops is no fault.
  async expecting(words, act) {
    const before = this.faults.length;
    await act();
    this.faults = this.faults.filter((fault, number) => number < before || !words.test(fault));
  }

  nothingHappened() {
    assert.deepEqual(this.faults, []);
    assert.ok(this.requests > 0);
  }

  /// What there is to see when a script failed.
  async tell() {
    for (const fault of this.faults) console.error(fault);
    let number = 0;
    for (const page of this.browser.contexts().flatMap((context) => context.pages())) {
      number += 1;
      const name = `failed-${process.argv[1].split("/").pop()}-${this.words.join("-")}-${number}`;
      console.error(`${page.url()} is seen in ${name}.png`);
      await this.screenshot(page, name).catch(() => {});
    }
  }
}
