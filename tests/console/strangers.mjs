// Servers of somebody else: on another port of the same host, and on a host of their own.
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

/// A certificate that nobody vouches for, and its key.
export function certificate() {
  const folder = mkdtempSync(join(tmpdir(), "stranger-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const names = "subjectAltName=DNS:localhost,DNS:evil.example";
  execFileSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
    "-subj", "/CN=stranger", "-addext", names, "-keyout", key, "-out", cert,
  ], { stdio: "ignore" });
  return { key: readFileSync(key), cert: readFileSync(cert), parsed: new X509Certificate(readFileSync(cert)) };
}

/// Serves whatever page it is given. Of the same site as the console (`localhost`), and of another one.
export class Stranger {
  constructor({ key, cert }) {
    this.page = "";
    this.seen = [];
    this.server = https.createServer({ key, cert }, (request, answer) => {
      this.seen.push(request.url);
      answer.setHeader("content-type", "text/html; charset=utf-8");
      answer.end(request.url.startsWith("/page") ? this.page : "");
    });
  }

  async listens() {
    await new Promise((done) => { this.server.listen(0, "127.0.0.1", done); });
    const { port } = this.server.address();
    this.origins = [`https://localhost:${port}`, `https://evil.example:${port}`];
    return this;
  }

  closes() {
    this.server.close();
    this.server.closeAllConnections();
  }
}
