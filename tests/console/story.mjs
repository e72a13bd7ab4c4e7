// From the first start to a token that was replaced, as an administrator sees it: with a mouse, with scripts turned off, and with
// nothing but a keyboard.
import assert from "node:assert/strict";
import { Keyboard, Mouse } from "./hands.mjs";
import { Client, PASSWORD, shell, soon } from "./server.mjs";
import { play } from "./stage.mjs";

play(async (stage) => {
  const [way] = stage.words;
  const hasScript = way !== "no-script";
  const permissions = ["clipboard-read", "clipboard-write"];
  const context = await stage.visitor({ javaScriptEnabled: hasScript, permissions });
  const page = await context.newPage();
  const teller = new Teller(stage, page, way);

  await teller.createsTheFirstAdmin();
  await teller.signsIn();
  const first = await teller.createsAnAccount();
  await teller.tries(first);
  if (way === "mouse") await teller.copiesAndDownloads(first);
  await teller.firstIsShownOnce(first);
  await teller.readsThatItWasUsed();
  if (way === "mouse") await teller.followsLive(first);

  const client = new Client(stage.server, first);
  const second = await teller.generatesANewToken(client, first);
  await teller.tries(second);
  await teller.secondIsShownOnce(second);
  await teller.readsWhoStillTriesTheOldOne();
  await client.stop();
  await teller.signsOut();
});

class Teller {
  constructor(stage, page, way) {
    Object.assign(this, { stage, page, server: stage.server });
    this.hand = way === "keyboard" ? new Keyboard(page) : new Mouse(page);
  }

  async isAt(heading) {
    await this.page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  }

  async reads(text) {
    await this.page.getByText(text).first().waitFor();
  }

  async createsTheFirstAdmin() {
    const link = this.server.setupUrl;
    await this.page.goto(link);
    await this.isAt("Create the first admin");
    await this.hand.write("Username", "ada");
    await this.hand.write("Password", PASSWORD);
    await this.hand.write("The same password again", "something else");
    await this.hand.press("Create the admin");
    // What is wrong stands beside its field, and what was typed is kept, but for passwords.
    const again = this.hand.field("The same password again");
    await this.page.getByRole("alert").waitFor();
    assert.equal(await again.getAttribute("aria-invalid"), "true");
    assert.equal(await this.hand.field("Username").inputValue(), "ada");
    assert.equal(await this.hand.field("Password").inputValue(), "");
    await this.hand.write("Password", PASSWORD);
    await this.hand.write("The same password again", PASSWORD);
    await this.hand.press("Create the admin");
    await this.isAt("Sign in");
    await this.reads("Your password is set. Sign in as ada.");

    // The link worked once.
    const other = await this.page.context().newPage();
    const answer = await other.goto(link);
    assert.ok(answer.status() >= 400, `${answer.status()}`);
    assert.equal(await other.getByLabel("Username").count(), 0);
    await other.close();
  }

  async signsIn() {
    await this.hand.write("Username", "ada");
    await this.hand.write("Password", PASSWORD);
    await this.hand.press("Sign in");
    await this.isAt("Overview");
  }

  async createsAnAccount() {
    await this.openMenu();
    await this.hand.press("Service accounts");
    await this.isAt("Service accounts");
    await this.hand.press("New Service Account");
    await this.isAt("New Service Account");
    await this.hand.write("Username", "ci-deploy");
    await this.hand.write("Description", "Deploys the web shop. Team Platform, +49 30 901820.");
    await this.hand.choose("Role", "auditor");
    await this.hand.choose("The token is good for", "24 months");
    await this.hand.press("Create the account and its token");
    await this.reads("The account ci-deploy was created.");
    return this.tokenThatIsShown();
  }

  /// Narrow screens have their menu in a box that opens.
  async openMenu() {
    const menu = this.page.locator("details.top-menu:not([open]) summary");
    if (await menu.isVisible()) await this.hand.press("Menu");
  }

  async tokenThatIsShown() {
    const token = await this.page.getByLabel("Token of ci-deploy").inputValue();
    assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    return token;
  }

  /// The lines that the page says, typed into a shell.
  async tries(token) {
    const lines = await this.page.locator("pre code").innerText();
    assert.ok(!lines.includes(token));
    const answer = JSON.parse(await shell(this.server, lines, token));
    assert.equal(answer.account.username, "ci-deploy");
  }

  async copiesAndDownloads(token) {
    await this.hand.press("Copy");
    await this.reads("Copied");
    assert.equal(await this.page.evaluate(() => navigator.clipboard.readText()), token);
    const coming = this.page.waitForEvent("download");
    await this.hand.press("Download");
    const download = await coming;
    assert.equal(download.suggestedFilename(), "ci-deploy.token");
    const parts = [];
    for await (const part of await download.createReadStream()) parts.push(part);
    assert.equal(Buffer.concat(parts).toString(), `${token}\n`);
  }

  /// Neither by going on and back, nor by loading the page that showed it again.
  async isShownOnce(token, ...steps) {
    const before = await this.generation();
    for (const step of steps) {
      await step();
      await this.hides(token);
    }
    assert.equal(await this.generation(), before);
  }

  async firstIsShownOnce(token) {
    const { page } = this;
    await this.isShownOnce(
      token,
      () => this.goesOn(),
      () => this.goes("back"),
      () => this.goes("again"),
      () => this.goes("back"),
      () => this.goes("forward"),
      () => page.goto("/console/service-accounts"),
      () => this.goes("back"),
    );
    await page.goto("/console/service-accounts");
    await this.hand.press("ci-deploy");
    await this.isAt("ci-deploy");
  }

  async goesOn() {
    await this.hand.press("I have kept it: go to the account");
    await this.isAt("ci-deploy");
  }

  async secondIsShownOnce(token) {
    const { page } = this;
    await this.isShownOnce(
      token,
      () => this.goes("again").then(() => this.isAt("Already done")),
      () => this.goes("again"),
      () => this.goes("back"),
      () => this.goes("forward"),
      () => this.goes("again"),
    );
    await page.goto("/console/service-accounts");
    await this.hand.press("ci-deploy");
    await this.isAt("ci-deploy");
  }

  /// As by the buttons of a browser, which may show a page of its own instead: that the form would have to be sent again.
  async goes(where) {
    const ways = { back: () => this.page.goBack(), forward: () => this.page.goForward(), again: () => this.page.reload() };
    try {
      await ways[where]();
    } catch (error) {
      assert.match(error.message, /ERR_CACHE_MISS/);
      await this.page.waitForURL("chrome-error://chromewebdata/");
    }
  }

  async generation() {
    return (await this.server.api("GET", "/accounts/ci-deploy")).generation;
  }

  async hides(token) {
    const values = () => [...document.querySelectorAll("input, textarea")].map((field) => field.value).join("\n");
    const [html, typed] = [await this.page.content(), await this.page.evaluate(values)];
    // Its signature and its claims, too, wherever the browser breaks it.
    for (const part of token.split(".").slice(1)) {
      assert.ok(!html.includes(part) && !typed.includes(part), `it is seen again at ${this.page.url()}`);
    }
  }

  /// At the page of the account: what is done by itself is seen when the page is loaded anew.
  async soonReads(text) {
    await soon(`"${text}" at ${this.page.url()}`, async () => {
      await this.page.reload();
      return (await this.page.getByRole("main").innerText()).match(text);
    });
  }

  async readsThatItWasUsed() {
    await this.soonReads(/GET \/api\/v1\/self/);
    await this.hand.press("All of it");
    await this.isAt("Activity");
    await this.reads("GET /api/v1/self");
    // Kinds of events stand in a filter, too.
    await this.page.locator("#event-rows").getByText("Account created").first().waitFor();
  }

  async followsLive(token) {
    await this.hand.press("Follow live");
    await this.reads("Following live");
    const path = "/verify/seen-live";
    await this.server.verify(token, { path });
    await this.page.getByText("/seen-live").first().waitFor();
    await this.hand.press("Stop following");
  }

  async generatesANewToken(client, first) {
    await client.sees(200);
    await this.page.goto("/console/service-accounts");
    await this.hand.press("ci-deploy");
    await this.isAt("ci-deploy");
    await this.soonReads(/deploy-bot\/2\.1/);
    await this.hand.press("Generate new authentication token");
    await this.isAt("Generate new authentication token");
    // What is using the present one is said first.
    await this.reads("deploy-bot/2.1");
    await this.reads("127.0.0.1");
    await this.hand.choose("It is good for", "6 months");
    await this.hand.choose("The present token is refused", "At once");
    await this.hand.press("Continue");
    await this.isAt("New token");
    const said = await this.page.getByRole("status").filter({ hasText: "refused" }).innerText();
    assert.match(said, /The older token is refused (on the one node|everywhere) after \d+ ms/);
    assert.equal(await this.server.verify(first), 401);
    await client.sees(401);
    const second = await this.tokenThatIsShown();
    assert.notEqual(second, first);
    return second;
  }

  async readsWhoStillTriesTheOldOne() {
    await this.soonReads(/1 token of this account is dead and still used/);
    await this.soonReads(/superseded/);
    const dead = this.page.getByRole("region", { name: "Dead tokens that are still used" });
    const said = await dead.innerText();
    for (const word of ["superseded", "127.0.0.1", "deploy-bot/2.1"]) assert.ok(said.includes(word), said);
  }

  async signsOut() {
    await this.hand.press("Sign out");
    await this.isAt("Sign in");
    await this.reads("You are signed out.");
    await this.page.goto("/console/service-accounts");
    await this.isAt("Sign in");
  }
}
