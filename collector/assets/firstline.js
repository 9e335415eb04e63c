// Optional comfort: keeps the board and a device that is watched fresh, and adds keys. Every page can be read and used without it.
"use strict";
(() => {
  let waiting = false;

  // Reads a page again and puts its part with this id in place of the old one; `carry` takes over what a person did there.
  async function renew(id, address, carry) {
    const old = document.getElementById(id);
    if (!old || waiting || document.hidden) return;
    waiting = true;
    try {
      const answer = await fetch(address, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = parsed.getElementById(id);
      if (!fresh) return;
      const after = carry(old, fresh);
      old.replaceWith(document.adoptNode(fresh));
      if (after) after();
    } catch {
      // The next change or tick tries again.
    } finally {
      waiting = false;
    }
  }

  // Calls `act` so long after the last of the changes that concern it.
  function onChange(concerns, pause, act) {
    let soon = 0;
    const changes = new EventSource("/api/v1/events");
    changes.addEventListener("change", (event) => {
      if (!concerns(JSON.parse(event.data))) return;
      clearTimeout(soon);
      soon = setTimeout(act, pause);
    });
    addEventListener("pagehide", () => changes.close());
  }

  if (document.getElementById("board-list")) {
    const refresh = () => {
      const address = new URL(location.href);
      address.searchParams.set("part", "list");
      return renew("board-list", address, (old, fresh) => {
        const focused = document.activeElement && document.activeElement.getAttribute("href");
        const link = focused && [...fresh.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused);
        return link && (() => link.focus());
      });
    };
    onChange(() => true, 500, refresh);
    setInterval(refresh, 30000);
    document.addEventListener("visibilitychange", refresh);
  }

  // A device that is watched: its values are read again with every change, until the time is over.
  const live = document.getElementById("live");
  if (live) {
    const look = () => renew("device-values", location.href, (old, fresh) => {
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      const now = [...fresh.querySelectorAll("details")];
      if (now.length === open.length) now.forEach((one, at) => { one.open = open[at]; });
    });
    onChange(({ device }) => device === null || device === live.dataset.device, 150, look);
    setTimeout(() => location.replace(location.pathname), Number(live.dataset.left));
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
