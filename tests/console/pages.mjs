// Every page of the console, in one place: what it is called, where it is, what it takes to see it, which controls it has and what each of
// those takes, which it has for nobody, and how to get to what only shows after a form was sent.
import { grants } from "./data.mjs";

/// Nobody gives a token or a link by which somebody can do more than he himself: what the accounts of `fill` hold.
const BUSY = [...grants("deployer"), ...grants("reader")];
const READER = grants("reader");
const USER = grants("on-call");

/// `data` is what `fill` has made. A `look` is a page that stands here already, and is seen in another state.
export function pages(data) {
  const service = (account) => `/console/service-accounts/${account.id}`;
  const user = (account) => `/console/users/${account.id}`;
  const key = (id) => `/console/keys/${id}`;
  return [
    { name: "overview", path: "/console", heading: "Overview" },

    {
      name: "service-accounts",
      path: "/console/service-accounts",
      heading: "Service accounts",
      needs: ["accounts:read"],
      controls: { "New Service Account": ["accounts:write", "tokens:issue"] },
    },
    { name: "service-accounts-found", look: true, path: "/console/service-accounts?query=deploy&status=active", needs: ["accounts:read"] },
    { name: "service-accounts-none", look: true, path: "/console/service-accounts?query=nobody-is-called-so", needs: ["accounts:read"] },
    {
      name: "service-account-new",
      path: "/console/service-accounts/new",
      heading: "New Service Account",
      needs: ["accounts:write", "tokens:issue"],
    },
    {
      name: "service-account",
      path: service(data.busy),
      heading: data.busy.username,
      needs: ["accounts:read"],
      controls: {
        Edit: ["accounts:write"],
        "Generate new authentication token": ["tokens:issue", ...BUSY],
        "Revoke it": ["tokens:revoke"],
        "Disable …": ["accounts:write"],
        "Delete …": ["accounts:write"],
        "All of it": ["audit:read"],
        deployer: ["roles:read"],
      },
      never: ["Enable", "New link to set the password"],
    },
    { name: "service-account-week", look: true, path: `${service(data.busy)}?window=week`, needs: ["accounts:read"] },
    { name: "service-account-overlap", look: true, path: service(data.overlap), needs: ["accounts:read"] },
    { name: "service-account-dead-token", look: true, path: service(data.dead), needs: ["accounts:read"] },
    {
      name: "service-account-disabled",
      path: service(data.disabled),
      needs: ["accounts:read"],
      controls: { Enable: ["accounts:write", ...READER] },
      never: ["Disable …", "Generate new authentication token"],
    },
    {
      name: "service-account-without-token",
      look: true,
      path: service(data.revoked),
      needs: ["accounts:read"],
      controls: { "Generate new authentication token": ["tokens:issue", ...READER] },
      never: ["Revoke it"],
    },
    { name: "service-account-unused", look: true, path: service(data.unused), needs: ["accounts:read"] },
    // Nothing is left of it but its activity.
    { name: "service-account-deleted", path: `/console/accounts/${data.deleted.id}`, needs: ["accounts:read", "audit:read"], hidden: true },
    {
      name: "service-account-activity",
      path: `${service(data.busy)}/activity`,
      heading: "Activity",
      needs: ["accounts:read", "audit:read"],
    },
    {
      name: "service-account-activity-none",
      look: true,
      path: `${service(data.busy)}/activity?reason=revoked_key`,
      needs: ["accounts:read", "audit:read"],
    },
    {
      name: "service-account-edit",
      path: `${service(data.busy)}/edit`,
      heading: "Edit",
      needs: ["accounts:read", "accounts:write"],
      controls: { Save: ["accounts:write"] },
    },
    {
      name: "service-account-token",
      path: `${service(data.busy)}/token`,
      heading: "Generate new authentication token",
      needs: ["accounts:read", "tokens:issue"],
      controls: { Continue: BUSY },
    },
    { name: "service-account-token-disabled", look: true, path: `${service(data.disabled)}/token`, needs: ["accounts:read", "tokens:issue"] },
    { name: "service-account-revoke", path: `${service(data.busy)}/revoke`, needs: ["accounts:read", "tokens:revoke"] },
    { name: "service-account-disable", path: `${service(data.busy)}/disable`, needs: ["accounts:read", "accounts:write"] },
    { name: "service-account-delete", path: `${service(data.busy)}/delete`, needs: ["accounts:read", "accounts:write"] },

    {
      name: "users",
      path: "/console/users",
      heading: "Users",
      needs: ["accounts:read"],
      controls: { "New user": ["accounts:write", "tokens:issue"] },
    },
    { name: "user-new", path: "/console/users/new", needs: ["accounts:write", "tokens:issue"] },
    {
      name: "user",
      path: user(data.user),
      heading: data.user.username,
      needs: ["accounts:read"],
      controls: {
        Edit: ["accounts:write"],
        "New link to set the password": ["tokens:issue", ...USER],
        "End all": ["accounts:write"],
        "End the session from 127.0.0.1": ["accounts:write"],
        "Disable …": ["accounts:write"],
        "Delete …": ["accounts:write"],
        "All of it": ["audit:read"],
      },
      never: ["Generate new authentication token", "Revoke it"],
    },
    {
      name: "user-invited",
      look: true,
      path: user(data.invited),
      needs: ["accounts:read"],
      controls: { "New link to set the password": ["tokens:issue", ...READER] },
      never: ["End all"],
    },
    { name: "user-edit", path: `${user(data.user)}/edit`, needs: ["accounts:read", "accounts:write"] },
    {
      name: "user-link",
      path: `${user(data.user)}/link`,
      heading: "New link to set the password",
      needs: ["accounts:read", "tokens:issue"],
      controls: { "Make the link": USER },
    },
    // A way leads there once there is a token to replace.
    { name: "user-token", path: `${user(data.user)}/token`, needs: ["accounts:read", "tokens:issue"], controls: { Continue: USER } },
    { name: "user-revoke", path: `${user(data.user)}/revoke`, needs: ["accounts:read", "tokens:revoke"] },
    { name: "user-activity", path: `${user(data.user)}/activity`, needs: ["accounts:read", "audit:read"] },
    { name: "user-disable", path: `${user(data.user)}/disable`, needs: ["accounts:read", "accounts:write"] },
    { name: "user-delete", path: `${user(data.user)}/delete`, needs: ["accounts:read", "accounts:write"] },

    {
      name: "roles",
      path: "/console/roles",
      heading: "Roles",
      needs: ["roles:read"],
      controls: { "New role": ["roles:write"] },
    },
    { name: "role-new", path: "/console/roles/~new", needs: ["roles:write"] },
    {
      name: "role",
      path: `/console/roles/${data.role}`,
      heading: data.role,
      needs: ["roles:read"],
      controls: { Edit: ["roles:write"], "Delete …": ["roles:write"] },
    },
    { name: "role-builtin", look: true, path: "/console/roles/admin", needs: ["roles:read"], never: ["Edit", "Delete …"] },
    { name: "role-edit", path: `/console/roles/${data.role}/edit`, needs: ["roles:read", "roles:write"] },
    { name: "role-delete", path: `/console/roles/${data.role}/delete`, needs: ["roles:read", "roles:write"] },
    { name: "role-delete-unused", look: true, path: "/console/roles/unused/delete", needs: ["roles:read", "roles:write"] },

    {
      name: "teams",
      path: "/console/teams",
      heading: "Teams",
      needs: ["roles:read"],
      controls: { "New team": ["roles:write"] },
    },
    { name: "team-new", path: "/console/teams/~new", needs: ["roles:write"] },
    {
      name: "team",
      path: `/console/teams/${data.team}`,
      heading: data.team,
      needs: ["roles:read"],
      controls: { Edit: ["roles:write"], "Delete …": ["roles:write"] },
    },
    { name: "team-edit", path: `/console/teams/${data.team}/edit`, needs: ["roles:read", "roles:write"] },
    { name: "team-delete", path: `/console/teams/nobody/delete`, needs: ["roles:read", "roles:write"] },

    {
      name: "keys",
      path: "/console/keys",
      heading: "Signing keys",
      needs: ["keys:read"],
      controls: { "Prepare a key": ["keys:rotate"] },
    },
    {
      name: "key-active",
      path: key(data.keys.active),
      needs: ["keys:read"],
      controls: { "Revoke …": ["keys:rotate"] },
      never: ["Activate now", "Retire now"],
    },
    {
      name: "key-pending",
      look: true,
      path: key(data.keys.pending),
      needs: ["keys:read"],
      controls: { "Revoke …": ["keys:rotate"], "Activate now": ["keys:rotate"] },
    },
    {
      name: "key-retiring",
      look: true,
      path: key(data.keys.retiring),
      needs: ["keys:read"],
      controls: { "Revoke …": ["keys:rotate"], "ci-deploy": ["accounts:read"] },
    },
    { name: "key-retired", look: true, path: key(data.keys.retired), needs: ["keys:read"], controls: { "Revoke …": ["keys:rotate"] } },
    {
      name: "key-leaked",
      look: true,
      path: key(data.keys.leaked),
      needs: ["keys:read"],
      controls: { "edge-1": ["accounts:read"] },
      never: ["Revoke …"],
    },
    { name: "key-revoke", path: `${key(data.keys.active)}/revoke`, needs: ["keys:read", "keys:rotate"] },

    { name: "audit", path: "/console/audit", heading: "Audit", needs: ["audit:read"], controls: { Export: ["audit:read"] } },
    { name: "audit-found", look: true, path: "/console/audit?outcome=refused&reason=superseded", needs: ["audit:read"] },
    { name: "audit-none", look: true, path: "/console/audit?reason=nothing-has-this-reason", needs: ["audit:read"] },
    { name: "audit-status", path: "/console/audit/status", needs: ["audit:read"] },
    { name: "nodes", path: "/console/nodes", heading: "Nodes", needs: ["nodes:read"] },
    { name: "me", path: "/console/me", heading: "My account", controls: { "Change the password": [], "End all other sessions": [] } },
    { name: "not-found", path: "/console/there-is-no-such-page", status: 404 },
  ];
}

/// Each page once.
export const once = (data) => pages(data).filter(({ look }) => !look);

/// What is seen only after a form was sent. Each begins at a page, and stops where it is looked at.
export function afterForms(data) {
  const service = `/console/service-accounts/${data.unused.id}`;
  const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
  const fill = (page, label, text) => page.getByLabel(label, { exact: true }).first().fill(text);
  return [
    {
      name: "service-account-new-wrong",
      path: "/console/service-accounts/new",
      async then(page) {
        await fill(page, "Username", "Not A Username");
        await fill(page, "Allowed networks", "10.0.0.0/8\neverywhere");
        await page.locator("form.stack").evaluate((form) => { form.noValidate = true; });
        await press(page, "Create the account and its token");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "service-account-created",
      path: "/console/service-accounts/new",
      async then(page, nth) {
        await fill(page, "Username", `new-one-${nth}`);
        await page.getByLabel("Role", { exact: true }).selectOption("reader");
        await press(page, "Create the account and its token");
        await page.getByText("was created").waitFor();
      },
    },
    {
      name: "service-account-token-generated",
      path: `${service}/token`,
      async then(page) {
        await press(page, "Continue");
        await page.getByLabel(/^Token of/).waitFor();
      },
    },
    {
      name: "service-account-token-generated-already",
      path: `${service}/token`,
      async then(page) {
        await press(page, "Continue");
        await page.getByLabel(/^Token of/).waitFor();
        await page.reload();
        await page.getByRole("heading", { name: "Already done" }).waitFor();
      },
    },
    {
      name: "service-account-delete-wrong",
      path: `${service}/delete`,
      async then(page) {
        await fill(page, /^Type/, "another name");
        await page.locator("form.confirm button").click();
        await page.locator(".error").waitFor();
      },
    },
    {
      name: "service-account-edit-wrong",
      path: `${service}/edit`,
      async then(page) {
        await fill(page, "Allowed networks", "everywhere");
        await press(page, "Save");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "service-account-disabled-now",
      path: `/console/service-accounts/${data.dead.id}`,
      async then(page) {
        await page.getByRole("link", { name: "Disable …" }).click();
        await press(page, `Disable ${data.dead.username}`);
        await page.getByRole("status").filter({ hasText: "Disabled; its tokens are refused" }).waitFor();
      },
    },
    {
      name: "user-created",
      path: "/console/users/new",
      async then(page, nth) {
        await fill(page, "Username", `person-${nth}`);
        await page.getByLabel("Role", { exact: true }).selectOption("reader");
        await press(page, "Create the account and its link");
        await page.getByText("was created").waitFor();
      },
    },
    {
      name: "user-link-made",
      path: `/console/users/${data.invited.id}/link`,
      async then(page) {
        await press(page, "Make the link");
        await page.getByLabel("Link for linus").waitFor();
      },
    },
    {
      name: "role-new-wrong",
      path: "/console/roles/~new",
      async then(page) {
        await fill(page, "Name", "Not A Role");
        await fill(page, "Permissions", "deployments:read\neverything");
        await press(page, "Create the role");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "role-edit-wrong",
      path: `/console/roles/${data.role}/edit`,
      async then(page) {
        await fill(page, "Description", "long ".repeat(120));
        await fill(page, "Permissions", "everything");
        await press(page, "Show who gains and loses what");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "role-edit-shown",
      path: `/console/roles/${data.role}/edit`,
      async then(page) {
        await fill(page, "Permissions", "deployments:read\nimages:*\nsecrets:read");
        await press(page, "Show who gains and loses what");
        await page.getByRole("heading", { name: "What would change" }).waitFor();
        await page.getByRole("table").getByText("deployments:create").first().waitFor();
      },
    },
    {
      name: "role-edit-changes-nothing",
      path: `/console/roles/${data.role}/edit`,
      async then(page) {
        await press(page, "Show who gains and loses what");
        await page.getByText("Nobody gains or loses anything").waitFor();
      },
    },
    {
      name: "team-new-wrong",
      path: "/console/teams/~new",
      async then(page) {
        await fill(page, "Name", "Not A Team");
        await press(page, "Create the team");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "team-edit-wrong",
      path: `/console/teams/${data.team}/edit`,
      async then(page) {
        await fill(page, "Description", "long ".repeat(120));
        await press(page, "Save");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "team-saved",
      path: `/console/teams/${data.team}/edit`,
      async then(page) {
        await fill(page, "Description", "The shop, and everything that customers see of it.");
        await press(page, "Save");
        await page.locator("main .notice[role=status]").waitFor();
      },
    },
    {
      name: "key-prepare-wrong",
      path: "/console/keys",
      async then(page) {
        await page.getByLabel("Algorithm", { exact: true }).evaluate((list) => list.add(new Option("none", "none", true, true)));
        await press(page, "Prepare a key");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "key-activate-refused",
      path: `/console/keys/${data.keys.pending}`,
      async then(page) {
        await page.getByText("Activate it before its time").click();
        await page.getByLabel("Some verifiers may refuse").evaluate((box) => { box.required = false; });
        await press(page, "Activate now");
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "key-revoke-wrong",
      path: `/console/keys/${data.keys.active}/revoke`,
      async then(page) {
        await fill(page, /^Type/, "another key");
        await page.locator("form.confirm button").click();
        await page.locator(".error").waitFor();
      },
    },
    {
      name: "me-password-wrong",
      path: "/console/me",
      async then(page) {
        await fill(page, "Present password", "not this one, surely");
        await fill(page, "New password", "short");
        await fill(page, "The same password again", "other");
        await press(page, "Change the password");
        await page.getByRole("alert").waitFor();
      },
    },
  ];
}

/// What somebody is shown who may do nothing but in a team, and what he is shown last.
export function refusedPages() {
  return [
    { name: "overview-nothing", path: "/console", heading: "Overview" },
    { name: "not-permitted", path: "/console/keys", status: 403 },
    { name: "me-in-a-team", path: "/console/me", heading: "My account" },
    {
      name: "signed-out",
      path: "/console/me",
      async then(page) {
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByText("You are signed out.").waitFor();
      },
    },
  ];
}

/// Pages for those who are not signed in. `links` are unused ones.
export function barePages(links) {
  return [
    { name: "sign-in", path: "/console/sign-in", heading: "Sign in" },
    {
      name: "sign-in-wrong",
      path: "/console/sign-in",
      async then(page) {
        await page.getByLabel("Username").fill("nobody");
        await page.getByLabel("Password", { exact: true }).fill("nothing at all");
        await page.getByRole("button", { name: "Sign in", exact: true }).click();
        await page.getByRole("alert").waitFor();
      },
    },
    {
      name: "sign-in-token",
      path: "/console/sign-in",
      async then(page) {
        await page.getByText("Sign in with a token instead").click();
      },
    },
    { name: "setup", path: links.setup, heading: "Create the first admin" },
    {
      name: "setup-wrong",
      path: links.setup,
      async then(page) {
        await page.getByLabel("Username").fill("Not A Username");
        await page.getByLabel("Password", { exact: true }).fill("short");
        await page.getByLabel("The same password again").fill("other");
        await page.getByRole("button", { name: "Create the admin" }).click();
        await page.getByRole("alert").waitFor();
      },
    },
    { name: "password", path: links.password, heading: "Set your password" },
    {
      name: "password-wrong",
      path: links.password,
      async then(page) {
        await page.getByLabel("New password").fill("short");
        await page.getByLabel("The same password again").fill("other");
        await page.getByRole("button", { name: "Set the password" }).click();
        await page.getByRole("alert").waitFor();
      },
    },
    { name: "password-link-gone", path: "/console/password?link=gone", status: 410 },
    {
      name: "sign-in-too-often",
      path: "/console/sign-in",
      async then(page) {
        await page.evaluate(async () => {
          const body = new URLSearchParams({ username: "somebody", password: "a guess" });
          const guess = async () => (await fetch("/console/sign-in", { method: "POST", body })).status;
          for (let tries = 0; tries < 15 && (await guess()) !== 429; tries += 1);
        });
        await page.getByLabel("Username").fill("somebody");
        await page.getByLabel("Password", { exact: true }).fill("another guess");
        const refused = page.waitForResponse((answer) => answer.status() === 429);
        await page.getByRole("button", { name: "Sign in", exact: true }).click();
        await refused;
        await page.getByRole("alert").waitFor();
      },
    },
  ];
}

/// Everything that a form does: where it is sent, what it takes, and the fields with which nothing comes of it, if any are needed.
/// `brief`: what it is on is seen for moments.
export function actions(data) {
  const service = (account) => `/console/service-accounts/${account.id}`;
  const user = (account) => `/console/users/${account.id}`;
  const { keys } = data;
  const [sees, writes, issues, revokes] = ["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke"];
  return [
    { path: "/console/service-accounts/new", needs: [writes, issues] },
    { path: `${service(data.busy)}/edit`, needs: [sees, writes] },
    { path: `${service(data.busy)}/status`, needs: [sees, writes] },
    { path: `${service(data.busy)}/token`, needs: [sees, issues] },
    { path: `${service(data.busy)}/revoke`, needs: [sees, revokes] },
    { path: `${service(data.busy)}/delete`, needs: [sees, writes] },
    // Shown where somebody has signed in with its token.
    { path: `${service(data.unused)}/sessions`, needs: [sees, writes], brief: true },
    { path: "/console/users/new", needs: [writes, issues] },
    { path: `${user(data.user)}/edit`, needs: [sees, writes] },
    { path: `${user(data.user)}/status`, needs: [sees, writes] },
    { path: `${user(data.user)}/token`, needs: [sees, issues] },
    { path: `${user(data.user)}/revoke`, needs: [sees, revokes] },
    { path: `${user(data.user)}/link`, needs: [sees, issues] },
    // All of them end, and so of somebody who has none.
    { path: `${user(data.invited)}/sessions`, needs: [sees, writes] },
    { path: `${user(data.user)}/delete`, needs: [sees, writes] },
    { path: "/console/roles/~new", needs: ["roles:write"] },
    { path: `/console/roles/${data.role}/edit`, needs: ["roles:read", "roles:write"] },
    { path: `/console/roles/${data.role}/delete`, needs: ["roles:read", "roles:write"] },
    { path: "/console/teams/~new", needs: ["roles:write"] },
    { path: `/console/teams/${data.team}/edit`, needs: ["roles:read", "roles:write"] },
    { path: `/console/teams/${data.team}/delete`, needs: ["roles:read", "roles:write"] },
    { path: "/console/keys/prepare", needs: ["keys:read", "keys:rotate"] },
    { path: `/console/keys/${keys.pending}/activate`, needs: ["keys:read", "keys:rotate"] },
    // A key that no token needs any more retires by itself.
    { path: `/console/keys/${keys.retiring}/retire`, needs: ["keys:read", "keys:rotate"], brief: true },
    { path: `/console/keys/${keys.active}/revoke`, needs: ["keys:read", "keys:rotate"] },
    { path: "/console/me/password" },
    { path: "/console/me/sessions" },
    { path: "/console/sign-in", fields: { token: "none" } },
    { path: "/console/setup" },
    { path: "/console/password" },
    // Nothing can be sent after it.
    { path: "/console/sign-out" },
  ];
}

/// What a path is about left out: paths of one route are the same.
export function shape(path) {
  const [route] = path.split(/[?#]/);
  return route.replace(/^(\/console\/[^/]+\/)(?!(~?new|prepare)$)[^/]+(?=\/)/, "$1*");
}
