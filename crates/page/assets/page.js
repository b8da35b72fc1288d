// Keeps a page up to date: the server says that something has changed, and the page's main part is asked for again.
//
// One stream for all tabs of a browser: over HTTP/1.1 a browser opens six connections to a server, and a seventh tab would hang. Where
// tabs can agree (Web Locks), one of them has the stream and tells the others. Where they cannot, a tab has it while somebody sees it.
//
// A page never looks newer than it is: times count on, and where nothing has come for too long a banner says how old everything is.
"use strict";

(() => {
  const main = () => document.querySelector("main[data-live]");
  const mark = document.querySelector("#live");
  const banner = document.querySelector("#stale");
  const age = document.querySelector("#age");
  // What is asked for again at most so often, in milliseconds.
  const PAUSE = 2000;
  // The server says something every 15 seconds at least.
  const SILENCE = 40000;
  // How long a stream that was refused is left alone, at first and at most.
  const AGAIN = 5000;
  const AGAIN_MAX = 60000;
  let last = 0;
  let waiting = false;
  let running = false;
  // When something was heard last of the server, or of the tab that has the stream.
  let heard = performance.now();
  // By when what stands here was made, and which moment of the server's clock that was.
  let made = performance.now();
  let madeAt = Number(main()?.dataset.now ?? NaN);
  let broken = false;

  const isStale = () => broken || performance.now() - heard > SILENCE;

  // In its two largest units, as the server writes it.
  const UNITS = [[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]];
  const duration = (ms) => {
    const first = UNITS.findIndex(([unit]) => ms >= unit);
    if (first < 0) return "less than 1 s";
    const [unit, name] = UNITS[first];
    const next = UNITS[first + 1];
    const rest = next ? Math.floor((ms % unit) / next[0]) : 0;
    const whole = `${Math.floor(ms / unit)} ${name}`;
    return rest > 0 ? `${whole} ${rest} ${next[1]}` : whole;
  };

  const put = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  // Times count on by the server's clock, whatever this machine's says.
  const count = () => {
    const now = madeAt + (performance.now() - made);
    if (Number.isNaN(now)) return;
    const stale = isStale();
    for (const time of document.querySelectorAll("time[data-ago]")) {
      put(time, `${duration(Math.max(0, now - Number(time.dataset.ago)))} ago`);
    }
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Number(time.dataset.until) - now;
      put(time, left > 0 ? `in ${duration(left)}` : "now");
    }
    // When a node was heard the next answer tells anew: meanwhile only the server knows.
    if (stale) {
      for (const time of document.querySelectorAll("time[data-heard]")) {
        put(time, `${duration(Math.max(0, now - Number(time.dataset.heard)))} ago`);
      }
    }
  };

  const show = () => {
    const stale = isStale();
    if (mark) put(mark, stale ? "not connected" : "live");
    if (banner) banner.hidden = !stale;
    if (age && stale) put(age, duration(performance.now() - made));
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
      if (answer.status === 401) {
        // Why somebody is known no more is told this once.
        const why = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        const shown = main();
        if (why && shown) {
          shown.removeAttribute("data-live");
          shown.replaceChildren(...why.childNodes);
          close();
        }
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main[data-live]");
      const shown = main();
      if (!fresh || !shown || busy()) return;
      const open = [...shown.querySelectorAll("details[open][id]")].map((found) => found.id);
      const focused = shown.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const aside = [...shown.querySelectorAll(".wide")].map((wide) => wide.scrollLeft);
      shown.replaceChildren(...fresh.childNodes);
      for (const id of open) {
        const details = document.getElementById(id);
        if (details) details.open = true;
      }
      shown.querySelectorAll(".wide").forEach((wide, at) => { if (aside[at]) wide.scrollLeft = aside[at]; });
      if (focused) shown.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      made = performance.now();
      madeAt = Number(fresh.dataset.now ?? NaN);
      heard = made;
      broken = false;
      localise();
    } catch (_) {
      broken = true;
    } finally {
      running = false;
      show();
      count();
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

  const told = () => {
    heard = performance.now();
    changed();
  };

  let stream = null;
  let again = null;
  let pause = AGAIN;
  const open = (tell) => {
    if (stream || again !== null) return;
    stream = new EventSource("/live");
    stream.addEventListener("open", () => {
      pause = AGAIN;
      told();
    });
    stream.addEventListener("changed", () => {
      tell();
      told();
    });
    stream.addEventListener("error", () => {
      broken = true;
      show();
      if (!stream || stream.readyState !== EventSource.CLOSED) return;
      // The session is over, the server was started again, or a proxy has answered in its place: the browser asks no more by itself.
      stream = null;
      again = setTimeout(() => {
        again = null;
        open(tell);
      }, pause);
      pause = Math.min(2 * pause, AGAIN_MAX);
      changed();
    });
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
    clearTimeout(again);
    again = null;
  };

  localise();
  if (!main() || typeof EventSource === "undefined") return;
  setInterval(() => {
    if (document.hidden) return;
    count();
    show();
    // Without the stream it is asked for all the same, if seldom.
    if (isStale() && Date.now() - last > AGAIN) refresh();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    count();
    show();
    if (waiting || isStale()) changed();
  });
  addEventListener("focusout", () => {
    if (waiting) changed();
  });
  addEventListener("offline", () => {
    broken = true;
    show();
  });
  addEventListener("online", changed);
  if (navigator.locks && typeof BroadcastChannel !== "undefined") {
    const channel = new BroadcastChannel("upstart-live");
    channel.addEventListener("message", told);
    show();
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
