// Keeps a page up to date: the server says that something has changed, and the page's main part is asked for again.
//
// One stream for all tabs of a browser: over HTTP/1.1 a browser opens six connections to a server, and a seventh tab would hang. Where
// tabs can agree (Web Locks), one of them has the stream and tells the others. Where they cannot, a tab has it while somebody sees it.
"use strict";

(() => {
  const main = () => document.querySelector("main[data-live]");
  const mark = document.querySelector("#live");
  // What is asked for again at most so often, in milliseconds.
  const PAUSE = 2000;
  let last = 0;
  let waiting = false;
  let running = false;

  const say = (text) => {
    if (mark) mark.textContent = text;
  };

  // Times are the server's; in the title they are the reader's own.
  const localise = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) time.title = at.toLocaleString();
    }
  };

  // Somebody who writes, or has a list open, is not disturbed.
  const busy = () => {
    const active = document.activeElement;
    return active !== null && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName);
  };

  const refresh = async () => {
    if (running || document.hidden || busy() || !main()) {
      waiting = true;
      return;
    }
    running = true;
    waiting = false;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (new URL(answer.url).pathname === "/login") {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main[data-live]");
      const shown = main();
      if (!fresh || !shown || busy()) return;
      const open = [...shown.querySelectorAll("details[open][id]")].map((found) => found.id);
      const focused = shown.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      shown.replaceChildren(...fresh.childNodes);
      for (const id of open) {
        const details = document.getElementById(id);
        if (details) details.open = true;
      }
      if (focused) shown.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      localise();
      say("live");
    } catch (_) {
      say("not connected");
    } finally {
      running = false;
    }
  };

  // Changes that come close together are asked for once.
  let timer = null;
  const changed = () => {
    if (timer !== null) return;
    const rest = Math.max(0, last + PAUSE - Date.now());
    timer = setTimeout(() => {
      timer = null;
      refresh();
    }, rest);
  };

  let stream = null;
  const open = (tell) => {
    if (stream) return;
    stream = new EventSource("/live");
    stream.addEventListener("open", () => say("live"));
    stream.addEventListener("changed", () => {
      tell();
      changed();
    });
    stream.addEventListener("error", () => {
      say("not connected");
      if (stream && stream.readyState === EventSource.CLOSED) {
        // The session is over, or the server was started again: the page says which.
        close();
        changed();
      }
    });
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
  };

  localise();
  if (!main() || typeof EventSource === "undefined") return;
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && waiting) changed();
  });
  addEventListener("focusout", () => {
    if (waiting) changed();
  });
  if (navigator.locks && typeof BroadcastChannel !== "undefined") {
    const channel = new BroadcastChannel("upstart-live");
    channel.addEventListener("message", changed);
    say("live");
    navigator.locks.request("upstart-live", () => {
      open(() => channel.postMessage("changed"));
      // Held as long as this tab lives; then another one takes over.
      return new Promise(() => {});
    });
  } else {
    const follow = () => (document.hidden ? close() : open(() => {}));
    document.addEventListener("visibilitychange", follow);
    follow();
  }
})();
