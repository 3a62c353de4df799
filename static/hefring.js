// What Hefring's pages do beyond htmx. Every page can be read and used without
// this file; it keeps times fresh, logs flowing and the focus where it was.
(function () {
  "use strict";

  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);

  // ---- times: the same words as the server's AgoText, UntilText and Took ----

  const plural = (n, one, many) => n === 1 ? "1 " + one : n + " " + many;

  function ago(then, now, fallback) {
    const s = Math.floor((now - then) / 1000);
    if (s < 5) return "just now";
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 86400) return Math.floor(s / 3600) + " h ago";
    if (s < 7 * 86400) return plural(Math.floor(s / 86400), "day", "days") + " ago";
    return fallback;
  }

  function until(then, now) {
    const s = Math.ceil((then - now) / 1000);
    if (s <= 0) return "due now";
    if (s < 60) return "in " + s + " s";
    if (s < 3600) return "in " + Math.ceil(s / 60) + " min";
    if (s < 2 * 86400) return "in " + Math.ceil(s / 3600) + " h";
    return "in " + Math.ceil(s / 86400) + " days";
  }

  function took(since, now) {
    const s = Math.max(0, Math.floor((now - since) / 1000));
    const two = (big, bigName, small, smallName) => {
      const rest = Math.floor(s % big / small);
      return Math.floor(s / big) + " " + bigName + (rest > 0 ? " " + rest + " " + smallName : "");
    };
    if (s < 60) return s + " s";
    if (s < 3600) return two(60, "min", 1, "s");
    if (s < 48 * 3600) return two(3600, "h", 60, "min");
    return two(86400, "d", 3600, "h");
  }

  function set(el, text) { if (el.textContent !== text) el.textContent = text; }

  function tick() {
    if (document.hidden) return;
    const now = Date.now();
    all("time[data-ago]").forEach((el) => set(el, ago(Date.parse(el.dateTime), now, el.textContent)));
    all("time[data-until]").forEach((el) => set(el, until(Date.parse(el.dateTime), now)));
    all("time[data-elapsed]").forEach((el) => set(el, took(Date.parse(el.dateTime), now)));
  }
  setInterval(tick, 1000);

  // ---- logs ----

  const keptLines = 5000;

  function followed(log) { return log.scrollHeight - log.scrollTop - log.clientHeight < 32; }
  function toEnd(log) { log.scrollTop = log.scrollHeight; }

  // A reader who scrolled up stays there; everybody else follows.
  function append(html) {
    const box = document.createElement("template");
    box.innerHTML = html;
    const line = box.content.querySelector(".ln");
    if (!line || byId(line.id)) return; // after a lost connection lines may come twice
    const step = line.dataset.step;
    const log = (step && document.querySelector('pre[data-log="' + CSS.escape(step) + '"]')) || document.querySelector('pre[data-log=""]');
    if (!log) return;
    const follow = followed(log);
    if (log.dataset.log === "" && step && (!log.lastElementChild || log.lastElementChild.dataset.step !== step)) {
      const head = document.createElement("span");
      head.className = "ls";
      head.textContent = step;
      log.append(head);
    }
    log.append(line);
    while (log.childElementCount > keptLines) log.firstElementChild.remove();
    if (follow) toEnd(log);
  }

  // Brings the list of steps up to date and leaves its logs, and what a reader
  // opened or closed, as they are.
  function mergeSteps(html) {
    const box = document.createElement("template");
    box.innerHTML = html;
    const children = box.content.querySelector("#children");
    if (children) {
      const old = byId("children");
      if (old) { old.replaceWith(children); if (window.htmx) window.htmx.process(children); }
      return;
    }
    const list = byId("steps");
    if (!list) { // the steps were not known yet when the page was drawn
      if (box.content.querySelector("#steps")) location.reload();
      return;
    }
    all("#steps > li[id]", box.content).forEach((fresh) => {
      const old = byId(fresh.id);
      if (!old) return;
      const was = old.dataset.s;
      old.dataset.s = fresh.dataset.s;
      old.className = fresh.className;
      old.querySelector(":scope > .i").replaceWith(fresh.querySelector(":scope > .i"));
      old.querySelector("summary").replaceChildren(...fresh.querySelector("summary").childNodes);
      if (was !== fresh.dataset.s) turned(old, fresh.dataset.s);
    });
  }

  // Opens the step that runs and closes it behind, unless the reader chose.
  function turned(item, state) {
    const box = item.querySelector("details");
    if (item.dataset.chosen) return;
    if (state === "running" || state === "failed") {
      box.open = true;
      toEnd(box.querySelector("pre"));
    } else if (state === "done") {
      box.open = false;
    }
  }

  document.addEventListener("click", (e) => {
    const item = e.target.closest && e.target.closest("summary.step") && e.target.closest("li");
    if (item) item.dataset.chosen = "1";
  });

  document.addEventListener("htmx:sseBeforeMessage", (e) => {
    const type = e.detail.type;
    if (type === "line") append(e.detail.data);
    else if (type === "steps") mergeSteps(e.detail.data);
    else return; // the headline is swapped by htmx
    e.preventDefault();
  });

  document.addEventListener("htmx:sseMessage", (e) => {
    if (e.detail.type !== "state") return;
    const said = byId("said"), head = document.querySelector("#state [data-say]");
    if (said && head) set(said, head.dataset.say);
  });

  document.addEventListener("htmx:sseClose", (e) => {
    if (e.detail.type !== "message") return;
    all(".log .live", e.target).forEach((el) => el.remove());
    refresh();
  });

  function refresh() { if (byId("poll") && window.htmx) window.htmx.trigger("#poll", "refresh"); }

  // ---- regions that are drawn anew ----

  // What a region shows, without what changes all the time by itself.
  function sign(el) {
    const copy = el.cloneNode(true);
    all("time", copy).forEach((t) => { t.textContent = ""; });
    all("input[type=hidden]", copy).forEach((i) => i.remove());
    all("[class]", copy).forEach((c) => c.setAttribute("class", c.getAttribute("class").replace(/\s*htmx-[a-z]+/g, "")));
    copy.removeAttribute("class");
    return copy.outerHTML;
  }

  // Somebody types in the region or has a menu of it open.
  function inUse(el) {
    const active = document.activeElement;
    if (el.contains(active) && active.matches("input:not([type=hidden]), select, textarea")) return true;
    return el.querySelector(":popover-open") !== null;
  }

  document.addEventListener("htmx:oobBeforeSwap", (e) => {
    const target = e.detail.target, fresh = e.detail.fragment.firstElementChild;
    if (!fresh || target.id === "poll") return;
    const kept = target.dataset.keep !== undefined && target.dataset.keep === fresh.dataset.keep;
    if (kept || inUse(target) || sign(target) === sign(fresh)) e.detail.shouldSwap = false;
  });

  document.addEventListener("htmx:beforeRequest", (e) => {
    if (e.target.id === "poll" && document.hidden) e.preventDefault();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { tick(); refresh(); } });

  // ---- dialogs ----

  let opener = null;

  document.addEventListener("htmx:beforeRequest", (e) => {
    if (e.detail.target && e.detail.target.id === "dialog") opener = e.target.id || e.target;
  });

  document.addEventListener("htmx:afterSwap", (e) => {
    if (e.target.id !== "dialog") return;
    const dialog = e.target.querySelector("dialog");
    if (!dialog) return;
    dialog.showModal();
    const safe = dialog.querySelector("[data-close]");
    if (safe) safe.focus(); // not the button that starts something
    dialog.addEventListener("close", () => {
      byId("dialog").replaceChildren();
      const back = typeof opener === "string" ? byId(opener) : opener;
      if (back) back.focus();
    }, { once: true });
  });

  document.addEventListener("click", (e) => {
    const close = e.target.closest && e.target.closest("[data-close]");
    const dialog = close ? close.closest("dialog") : (e.target.matches && e.target.matches("dialog") ? e.target : null);
    if (!dialog) return;
    e.preventDefault();
    dialog.close();
  });

  // ---- forms ----

  function focusError() {
    const first = document.querySelector("main [aria-invalid=true]");
    if (first) first.focus();
  }

  // Hides fields that another field's value leaves no use for.
  function depend() {
    all("[data-when]").forEach((box) => {
      const on = byId(box.dataset.when);
      if (!on) return;
      const value = on.type === "checkbox" ? (on.checked ? on.value : "") : on.value;
      const gone = on.closest("[data-when][hidden]");
      box.hidden = !!gone || !box.dataset.values.split(" ").includes(value);
    });
  }
  document.addEventListener("change", depend);

  document.addEventListener("htmx:afterSettle", (e) => {
    depend();
    if (e.target.matches && (e.target.matches("form") || e.target.querySelector("[aria-invalid=true]"))) focusError();
    tick();
  });

  function trouble(text) {
    const box = byId("problem");
    if (box) set(box, text);
  }
  document.addEventListener("htmx:responseError", (e) => {
    if (e.target.id === "poll") return;
    trouble("That did not work: the server answered " + e.detail.xhr.status + ". Reload the page and try again.");
  });
  document.addEventListener("htmx:sendError", (e) => {
    if (e.target.id !== "poll") trouble("Hefring cannot be reached. Check the connection and try again.");
  });
  document.addEventListener("htmx:beforeSend", (e) => { if (e.target.id !== "poll") trouble(""); });

  // The theme is put on the page as it is, with what was typed into it.
  document.addEventListener("submit", async (e) => {
    const form = e.target, button = e.submitter;
    if (form.getAttribute("action") !== "/theme" || !button) return;
    e.preventDefault();
    const body = new URLSearchParams(new FormData(form, button));
    const answer = await fetch("/theme", { method: "POST", body, redirect: "manual" }).catch(() => null);
    if (!answer || answer.type !== "opaqueredirect") return trouble("The theme was not kept. Reload the page and try again.");
    document.documentElement.toggleAttribute("data-theme", button.value !== "");
    if (button.value) document.documentElement.dataset.theme = button.value;
    all("button[name=theme]", form).forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
  });

  // ---- start ----

  function start() {
    depend();
    focusError();
    all("pre[data-log]").forEach((log) => {
      if (log.closest("[sse-connect]")) toEnd(log);
    });
    const failed = document.querySelector("#steps li[data-s=failed] pre");
    if (failed) toEnd(failed);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
