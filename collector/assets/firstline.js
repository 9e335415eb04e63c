// Optional comfort: keeps the board and a device that is watched fresh, and adds keys. Every page can be read and used without it.
"use strict";
(() => {
  const list = () => document.getElementById("board-list");
  let waiting = false;

  async function refresh() {
    if (!list() || waiting || document.hidden) return;
    waiting = true;
    try {
      const address = new URL(location.href);
      address.searchParams.set("part", "list");
      const answer = await fetch(address, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = parsed.getElementById("board-list");
      const focused = document.activeElement && document.activeElement.getAttribute("href");
      if (!fresh || !list()) return;
      list().replaceWith(document.adoptNode(fresh));
      if (focused) {
        for (const link of list().querySelectorAll("a")) {
          if (link.getAttribute("href") === focused) { link.focus(); break; }
        }
      }
    } catch {
      // The next change or tick tries again.
    } finally {
      waiting = false;
    }
  }

  if (list()) {
    let soon = 0;
    const changes = new EventSource("/api/v1/events");
    changes.addEventListener("change", () => {
      clearTimeout(soon);
      soon = setTimeout(refresh, 500);
    });
    setInterval(refresh, 30000);
    document.addEventListener("visibilitychange", refresh);
    addEventListener("pagehide", () => changes.close());
  }

  // A device that is watched: its values are read again with every change, until the time is over.
  const live = document.getElementById("live");
  async function look() {
    const values = document.getElementById("device-values");
    if (!values || waiting || document.hidden) return;
    waiting = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = parsed.getElementById("device-values");
      if (!fresh) return;
      const open = [...values.querySelectorAll("details")].map((one) => one.open);
      const now = [...fresh.querySelectorAll("details")];
      if (now.length === open.length) now.forEach((one, at) => { one.open = open[at]; });
      values.replaceWith(document.adoptNode(fresh));
    } catch {
      // The next change tries again.
    } finally {
      waiting = false;
    }
  }

  if (live) {
    let soon = 0;
    const changes = new EventSource("/api/v1/events");
    changes.addEventListener("change", (event) => {
      const { device } = JSON.parse(event.data);
      if (device !== null && device !== live.dataset.device) return;
      clearTimeout(soon);
      soon = setTimeout(look, 150);
    });
    setTimeout(() => location.replace(location.pathname), Number(live.dataset.left));
    addEventListener("pagehide", () => changes.close());
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest && event.target.closest("input, textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    const search = document.getElementById("q");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("table.board a.title")];
      if (!links.length) return;
      const at = links.indexOf(document.activeElement);
      const step = event.key === "j" ? 1 : -1;
      const next = at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step));
      links[next].focus();
    }
  });
})();
