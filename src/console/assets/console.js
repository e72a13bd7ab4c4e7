// Countermark: the console. Everything works without this; it makes some of it better.
"use strict";
(() => {
  const all = (selector, within = document) => within.querySelectorAll(selector);
  const nowAtServer = () => Date.now() + skew;
  let skew = 0;

  // Times are told by the server's clock, of which the page has brought a reading along.
  const reading = document.documentElement.dataset.now;
  if (reading) skew = Date.parse(reading) - Date.now();

  const UNITS = [[31536000, "year"], [2629800, "month"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  // As src/console/parts/time.rs has it.
  function relative(ms) {
    const seconds = Math.floor(Math.abs(ms) / 1000);
    if (seconds < 1) return "now";
    const [unit, word] = UNITS.find(([unit, word]) => seconds >= unit * (word === "year" || word === "month" ? 2 : 1));
    const number = seconds >= 60 ? Math.floor((seconds + Math.floor(unit / 2)) / unit) : seconds;
    return ms > 0 ? `in ${counted(number, word)}` : `${counted(number, word)} ago`;
  }

  // The two largest units, by the second at the end.
  function countdown(ms) {
    if (ms <= 0) return "over";
    let left = Math.floor(ms / 1000);
    const parts = [];
    for (const [unit, word] of [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]) {
      const number = Math.floor(left / unit);
      left -= number * unit;
      if (number > 0 || parts.length > 0) parts.push(counted(number, word));
      if (parts.length === 2) break;
    }
    return `in ${parts.join(" ") || "less than a second"}`;
  }

  // `15 Jan 2027, 05:00:00 UTC`, as src/console/parts/time.rs has it.
  function exact(time) {
    const [, day, month, year, clock] = time.toUTCString().split(" ");
    return `${Number(day)} ${month} ${year}, ${clock} UTC`;
  }

  function tell(times, kind) {
    for (const time of times) {
      const text = kind(Date.parse(time.dateTime) - nowAtServer());
      if (time.textContent !== text) time.textContent = text;
    }
  }
  const tellRelative = () => tell(all('time[data-time="relative"]'), relative);
  const tellCountdown = () => tell(all('time[data-time="countdown"]'), countdown);
  setInterval(tellRelative, 15000);
  if (document.querySelector('time[data-time="countdown"]')) { tellCountdown(); setInterval(tellCountdown, 1000); }

  // What only works with a script is hidden without one.
  for (const element of all("[data-script]")) element.hidden = false;
  for (const element of all("[data-focus]")) element.focus();

  // What is shown once.
  const say = (button, text) => { const said = button.parentElement.querySelector("[data-said]"); if (said) said.textContent = text; };
  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    const download = event.target.closest("[data-download]");
    if (copy) {
      const source = document.getElementById(copy.dataset.copy);
      const text = "value" in source ? source.value : source.textContent;
      try {
        await navigator.clipboard.writeText(text);
        say(copy, "Copied");
      } catch {
        if (source.select) source.select();
        say(copy, "Press Ctrl+C to copy what is marked");
      }
    } else if (download) {
      const source = document.getElementById(download.dataset.download);
      const url = URL.createObjectURL(new Blob([source.value + "\n"], { type: "text/plain" }));
      const link = document.createElement("a");
      link.href = url;
      link.download = download.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
      say(download, "Downloaded");
    }
  });
  for (const secret of all("textarea[data-secret]")) secret.addEventListener("focus", () => secret.select());
  // Whoever goes back to a page that the browser has kept sees no secret.
  addEventListener("pagehide", () => { for (const secret of all("[data-secret]")) secret.value = ""; });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const button of all('button[aria-disabled="true"]')) button.removeAttribute("aria-disabled");
    for (const secret of all("[data-secret]")) secret.placeholder = "It was shown once, and is shown no more.";
  });

  // A form is sent once.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    for (const button of all("button:not([type=button])", form)) button.setAttribute("aria-disabled", "true");
    setTimeout(() => {
      delete form.dataset.sent;
      for (const button of all("button:not([type=button])", form)) button.removeAttribute("aria-disabled");
    }, 8000);
  });

  // Search as you type: the list is taken from the page that the form leads to.
  for (const form of all("form[data-search]")) {
    const results = document.getElementById(form.dataset.search);
    let waiting, asked;
    const search = async () => {
      const parameters = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
      const text = parameters.toString();
      const url = form.action.split("?")[0] + (text ? `?${text}` : "");
      if (asked) asked.abort();
      asked = new AbortController();
      try {
        const answer = await fetch(url, { signal: asked.signal, credentials: "same-origin", redirect: "error" });
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const found = page.getElementById(form.dataset.search);
        if (!found) return;
        results.replaceChildren(...document.adoptNode(found).childNodes);
        // Whether there is a way back to the whole list.
        const [theirs, ours] = [page.querySelector("form[data-search] .actions"), form.querySelector(".actions")];
        if (theirs && ours && !ours.contains(document.activeElement)) ours.replaceChildren(...document.adoptNode(theirs).childNodes);
        history.replaceState(null, "", url);
      } catch { /* The form can still be sent. */ }
    };
    form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 300); });
  }

  // The audit as it is written: rows arrive at the top of the list.
  for (const button of all("button[data-tail]")) {
    const body = document.getElementById(button.dataset.rows);
    const template = document.getElementById(button.dataset.template);
    const said = document.getElementById(button.dataset.said);
    // What kinds of events are called stands in the filter.
    const titles = Object.fromEntries([...all('select[name="kind"] option')].map((option) => [option.value, option.label]));
    let source;
    const stop = (text) => {
      if (source) source.close();
      source = undefined;
      button.setAttribute("aria-pressed", "false");
      button.textContent = "Follow live";
      if (said) said.textContent = text;
    };
    // As src/console/parts/untrusted.rs has it: what would turn the text around it is taken out.
    const clean = (text) => String(text ?? "").replace(/[\u00ad\u034f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb]/gu, "").replace(/(\p{M}{2})\p{M}+/gu, "$1").slice(0, 120);
    // Filled in by the names of the cells; only ever as text.
    const row = (event) => {
      const filled = template.content.cloneNode(true);
      for (const cell of all("[data-cell]", filled)) {
        const name = cell.dataset.cell;
        if (name === "time") {
          cell.dateTime = event.time;
          cell.title = exact(new Date(event.time));
          cell.textContent = relative(Date.parse(event.time) - nowAtServer());
        } else if (name === "outcome") {
          const tone = { allowed: "good", done: "good", refused: "bad", failed: "warn" }[event.outcome] || "plain";
          cell.className = `badge ${tone}`;
          const mark = document.createElement("span");
          mark.className = "mark";
          mark.ariaHidden = "true";
          mark.textContent = { good: "✓", bad: "✕", warn: "!", plain: "○" }[tone];
          cell.replaceChildren(mark, event.outcome.charAt(0).toUpperCase() + event.outcome.slice(1));
        } else if (name === "account" && cell.tagName === "A") {
          cell.textContent = clean(event.username || event.account_id);
          if (event.account_id) cell.href = `/console/accounts/${encodeURIComponent(event.account_id)}`;
        } else if (name === "request") {
          const call = event.kind === "call" && event.method && event.path;
          cell.textContent = clean(call ? `${event.method} ${event.path}` : titles[event.kind] || event.kind);
        } else if (name === "reason") {
          const demanded = event.outcome === "refused" && event.permission;
          const where = demanded && event.team ? ` in ${event.team}` : "";
          cell.textContent = clean(event.reason && demanded ? `${event.reason}: ${event.permission}${where}` : event.reason);
        } else {
          cell.textContent = clean(name === "account" ? event.username || event.account_id : event[name]);
        }
      }
      for (const fresh of all("tr", filled)) fresh.classList.add("new-row");
      return filled;
    };
    const start = () => {
      source = new EventSource(button.dataset.tail);
      button.setAttribute("aria-pressed", "true");
      button.textContent = "Stop following";
      if (said) said.textContent = "Following live: new events appear at the top.";
      source.onmessage = (message) => {
        if (!message.data) return;
        body.prepend(row(JSON.parse(message.data)));
        while (body.rows.length > 200) body.deleteRow(-1);
      };
      source.addEventListener("end", () => stop("It ended: sign in again, or load the page anew."));
      source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) stop("The connection was closed. Load the page anew to see what is new."); };
    };
    button.addEventListener("click", () => (source ? stop("Stopped.") : start()));
    addEventListener("pagehide", () => source && stop(""));
  }

  // The menu of narrow screens closes as menus do.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of all("details.top-menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
  });
})();
