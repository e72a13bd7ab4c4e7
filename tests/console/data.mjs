// What a service holds that has been used for a while: every state that a page tells apart.
import { setTimeout as sleep } from "node:timers/promises";

const AGENTS = ["deploy-bot/2.1", "python-requests/2.32.3", "curl/8.14.1", "Go-http-client/2.0", "okhttp/5.1.0"];
const PATHS = ["/deployments", "/deployments/4711/status", "/images/web-shop:2026.11", "/metrics/push", "/secrets/list?page=2"];

const ROLES = [
  ["deployer", ["deployments:create", "deployments:read", "images:read"], "Rolls releases out, and reads how they went."],
  ["reader", ["deployments:read", "images:read", "metrics:read"], "Reads, and changes nothing."],
  ["metrics-writer", ["metrics:write"], ""],
  ["on-call", ["deployments:*", "secrets:read", "incidents:*"], "Whoever has the pager this week."],
  ["unused", ["archive:read"], "Nobody has this role."],
];

/// What a role of these grants.
export const grants = (role) => ROLES.find(([name]) => name === role)[1];

const TEAMS = [
  ["web", "The shop and everything that customers see."],
  ["platform", "Clusters, pipelines, the things below."],
  ["data", ""],
  ["nobody", "A team without members."],
];

/// Fills a server; the ids of what pages are about. With `plenty`, lists have more than one page.
export async function fill(server, { plenty = false } = {}) {
  for (const [name, permissions, description] of ROLES) await server.role(name, permissions, description);
  for (const [name, description] of TEAMS) await server.team(name, description);
  const data = { role: "deployer", team: "web" };

  const told = "Deploys the web shop from CI. Looked after by the platform team: #platform, or the pager at night.";
  const teams = { web: "deployer", platform: "reader" };
  data.busy = await server.account("ci-deploy", "deployer", { description: told, teams });
  data.overlap = await server.account("nightly-backup", "reader", { description: "Copies what must not be lost." });
  data.dead = await server.account("old-cron", "metrics-writer", { allowed_networks: ["127.0.0.0/8", "2001:db8::/32"] });
  data.disabled = await server.account("retired-importer", "reader", { description: "Not needed since the migration." });
  data.revoked = await server.account("leaked-script", "reader");
  data.unused = await server.account("waits-for-its-day", "deployer", { audiences: ["https://api.example/deployments", "https://api.example/images"] });
  data.deleted = await server.account("gone", "reader");
  if (plenty) {
    const many = Array.from({ length: 52 }, (_, number) => `worker-${String(number).padStart(3, "0")}`);
    for (const name of many) await server.account(name, "reader", { teams: { data: "metrics-writer" } });
    data.soon = await server.account("ends-soon", "reader", { valid_for_months: 1 });
  }

  data.user = await server.person("grace", "on-call", { description: "Grace, of the platform team.", teams: { platform: "on-call" } });
  data.invited = (await server.api("POST", "/users", { username: "linus", role: "reader" })).account;

  await use(server, data);
  data.keys = await keys(server);
  return data;
}

/// Calls of all outcomes, and tokens in all states.
async function use(server, data) {
  const call = (account, number) => {
    const agent = AGENTS[number % AGENTS.length];
    return server.verify(account.token, { path: `/verify${PATHS[number % PATHS.length]}`, headers: { "user-agent": agent } });
  };
  const several = (account, times) => Promise.all(Array.from({ length: times }, (_, number) => call(account, number)));
  const patch = (account, body) => server.api("PATCH", `/accounts/${account.id}`, body);
  const regenerate = (account, more = {}) => {
    return server.api("POST", `/accounts/${account.id}/token`, { valid_for_months: 6, ...more });
  };
  await Promise.all([several(data.busy, 60), several(data.overlap, 12), several(data.dead, 8), several(data.disabled, 4)]);
  // Which permission was demanded in vain is told, too.
  await server.verify(data.busy.token, { path: "/verify?permission=secrets:write&team=web" });
  data.overlap.next = (await regenerate(data.overlap, { overlap_seconds: 86_400 })).token;
  await regenerate(data.dead);
  await patch(data.disabled, { status: "disabled" });
  await server.api("DELETE", `/accounts/${data.revoked.id}/token`);
  await server.api("DELETE", `/accounts/${data.deleted.id}`);
  await Promise.all([several(data.overlap, 5), several(data.dead, 21), several(data.disabled, 3), several(data.revoked, 9)]);
}

/// A key in each state, and one that was revoked with tokens that nobody has replaced yet.
async function keys(server) {
  const made = async (algorithm) => (await server.api("POST", "/keys", algorithm ? { algorithm } : {})).key.id;
  const activate = (id) => server.api("POST", `/keys/${id}/activate`, { force: true });
  const [{ id: retiring }] = (await server.api("GET", "/keys")).items;
  const leaked = await made();
  await activate(leaked);
  for (const name of ["edge-1", "edge-2", "edge-3"]) await server.account(name, "reader");
  const retired = await made();
  await activate(retired);
  const active = await made();
  await activate(active);
  // No token needs it: it may have retired by itself.
  await server.api("POST", `/keys/${retired}/retire`).catch((error) => {
    if (!error.message.includes("retired already")) throw error;
  });
  await server.api("POST", `/keys/${leaked}/revoke`, { confirm: leaked });
  const pending = await made("EdDSA");
  return { retiring, leaked, retired, active, pending };
}

/// What was called is written down, and counted.
export const written = () => sleep(1_500);
