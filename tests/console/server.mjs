// The server that a script is played against: it runs already, and its data directory says where.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

export class Server {
  constructor(data) {
    const file = (name) => readFileSync(join(data, name), "utf8").trim();
    this.data = data;
    this.origin = JSON.parse(file("serve.json")).issuer;
    this.caFile = join(data, "tls/ca.pem");
    this.admin = file("admin.token");
    this.agent = new https.Agent({ ca: readFileSync(this.caFile), keepAlive: true });
  }

  /// Where the first admin is made; there until it was used.
  get setupUrl() {
    return readFileSync(join(this.data, "setup.url"), "utf8").trim();
  }

  url(path) {
    return this.origin + path;
  }

  /// A call as it stands: nothing of the path is put straight, nothing is added to the headers.
  call(method, path, { headers = {}, body } = {}) {
    const { hostname, port } = new URL(this.origin);
    return new Promise((done, failed) => {
      const request = https.request({ method, hostname, port, path, headers, agent: this.agent }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () => done({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString() }));
        answer.on("error", failed);
      });
      request.on("error", failed);
      request.setTimeout(10_000, () => request.destroy(new Error(`${method} ${path}: no answer`)));
      request.end(body);
    });
  }

  /// A call to the API, by the first admin unless said otherwise; what it answers.
  async api(method, path, body, token = this.admin) {
    const headers = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await this.call(method, `/api/v1${path}`, { headers, body: body && JSON.stringify(body) });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.text ? JSON.parse(answer.text) : undefined;
  }

  async verify(token, { path = "/verify", headers = {} } = {}) {
    return (await this.call("GET", path, { headers: { ...headers, authorization: `Bearer ${token}` } })).status;
  }

  /// A service account: its id and its token.
  async account(username, role, more = {}) {
    const body = { username, description: "", role, valid_for_months: 12, ...more };
    const made = await this.api("POST", "/accounts", body);
    return { id: made.account.id, username, token: made.token };
  }

  /// A person with a password: the link is used that the admin is shown.
  async person(username, role, more = {}) {
    const made = await this.api("POST", "/users", { username, description: "", role, ...more });
    const link = new URL(made.link).searchParams.get("link");
    const headers = { origin: this.origin, "content-type": "application/x-www-form-urlencoded" };
    const body = new URLSearchParams({ link, password: PASSWORD, repeated: PASSWORD }).toString();
    const set = await this.call("POST", "/console/password", { headers, body });
    if (set.status !== 303) throw new Error(`password of ${username}: ${set.status} ${set.text}`);
    return { id: made.account.id, username };
  }

  /// The cookies of a session that a person has begun.
  async session(username) {
    const headers = { origin: this.origin, "content-type": "application/x-www-form-urlencoded" };
    const begun = await this.call("POST", "/console/sign-in", { headers, body: new URLSearchParams({ username, password: PASSWORD }).toString() });
    if (begun.status !== 303) throw new Error(`session of ${username}: ${begun.status} ${begun.text}`);
    return begun.headers["set-cookie"].map((cookie) => {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      return { name, value, url: this.origin, secure: true, httpOnly: true };
    });
  }

  role(name, permissions, description = "") {
    return this.api("PUT", `/roles/${name}`, { description, permissions });
  }

  team(name, description = "") {
    return this.api("PUT", `/teams/${name}`, { description });
  }
}

/// Of everybody here.
export const PASSWORD = "seven grey herons wade at noon";

/// What somebody types into a shell, with the CA as curl takes it, and the token typed in.
export async function shell(server, text, typed) {
  const environment = { PATH: process.env.PATH, CURL_CA_BUNDLE: server.caFile };
  const running = promisify(execFile)("bash", ["-c", text], { env: environment, timeout: 20_000 });
  running.child.stdin.end(`${typed}\n`);
  return (await running).stdout;
}

/// A program that goes on calling with one token.
export class Client {
  constructor(server, token) {
    this.statuses = [];
    this.goesOn = true;
    this.ended = this.#run(server, token);
  }

  async #run(server, token) {
    while (this.goesOn) {
      const headers = { "user-agent": "deploy-bot/2.1", "x-forwarded-uri": "/deployments" };
      this.statuses.push(await server.verify(token, { path: "/verify/deployments", headers }));
      await sleep(50);
    }
  }

  /// Waits until it is answered so.
  async sees(status) {
    await soon(`the client sees ${status}`, () => this.statuses.at(-1) === status);
  }

  async stop() {
    this.goesOn = false;
    await this.ended;
  }
}

/// Waits for something that comes about by itself.
export async function soon(what, condition, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(50);
  }
}
