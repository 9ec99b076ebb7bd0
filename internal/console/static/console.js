// Keeps open pages current. Every page works without it.
"use strict";
(() => {
  // Copy buttons appear only where they work.
  const copyButtons = (within) => {
    if (!navigator.clipboard) return;
    for (const box of within.querySelectorAll(".copy")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(box.querySelector("pre").textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      box.append(button);
    }
  };

  // The tooltip of a time has the time in the browser's zone too.
  const localTimes = (within) => {
    for (const el of within.querySelectorAll("time[datetime]")) {
      if (el.dataset.local) continue;
      el.dataset.local = "1";
      const local = new Date(el.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
      el.title += "\n" + local + " local time";
    }
  };

  // On a narrow screen the navigation is one row that scrolls.
  document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // A page that updates itself replaces its live parts only. It does not while
  // it is hidden, nor a part that has the focus.
  const hasFocus = (el) => el.contains(document.activeElement) && document.activeElement !== document.body;
  const seen = new Map(); // the last HTML of each part from the server
  for (const el of document.querySelectorAll("[data-live]")) seen.set(el.id, el.innerHTML);
  const refresh = async () => {
    const res = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!res.ok) return;
    const next = new DOMParser().parseFromString(await res.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = next.getElementById(old.id);
      if (!now || hasFocus(old) || seen.get(old.id) === now.innerHTML) continue;
      seen.set(old.id, now.innerHTML);
      const open = [...old.querySelectorAll("details[open][id]")].map((d) => d.id);
      old.replaceChildren(...now.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      copyButtons(old);
      localTimes(old);
    }
  };
  copyButtons(document);
  localTimes(document);

  let scheduled = false;
  const scheduleRefresh = () => {
    if (scheduled) return;
    scheduled = true;
    setTimeout(() => { scheduled = false; refresh().catch(() => {}); }, 150);
  };
  const every = Number(document.body.dataset.refresh);
  if (every > 0) setInterval(() => { if (!document.hidden) scheduleRefresh(); }, every * 1000);
  const watch = document.body.dataset.watch;
  if (watch) new EventSource(watch).addEventListener("row", scheduleRefresh);

  // The form of a callback shows what its filter and fields would do, while one types.
  const form = document.querySelector("form[data-try]");
  if (form) {
    let waiting = 0, last = null;
    const attempt = async () => {
      last?.abort();
      last = new AbortController();
      const body = new URLSearchParams(new FormData(form));
      body.set("try", "yes");
      const res = await fetch(location.href, { method: "POST", body, headers: { Accept: "text/html" }, redirect: "error", signal: last.signal });
      const next = new DOMParser().parseFromString(await res.text(), "text/html").getElementById(form.dataset.try);
      if (next) document.getElementById(form.dataset.try).replaceChildren(...next.childNodes);
    };
    form.addEventListener("input", (e) => {
      if (e.target.name !== "filter" && e.target.name !== "fields") return;
      clearTimeout(waiting);
      waiting = setTimeout(() => { attempt().catch(() => {}); }, 600);
    });
  }

  // A form that offers callbacks asks for those of a session when the session or the API key
  // is another one. The page has them too after it was sent.
  const offers = document.querySelector("form[data-offers]");
  if (offers) {
    let last = null;
    const offer = async () => {
      last?.abort();
      last = new AbortController();
      const url = new URL(location.pathname, location.href);
      url.search = new URLSearchParams(new FormData(offers));
      const res = await fetch(url, { headers: { Accept: "text/html" }, redirect: "error", signal: last.signal });
      if (!res.ok) return;
      const next = new DOMParser().parseFromString(await res.text(), "text/html");
      for (const select of offers.querySelectorAll("select[data-callbacks]")) {
        const chosen = select.value, now = next.getElementById(select.id);
        if (!now) continue;
        select.replaceChildren(...now.childNodes);
        select.value = chosen;
        if (select.selectedIndex < 0) select.value = "";
      }
    };
    offers.addEventListener("change", (e) => { if (e.target.name === "session" || e.target.name === "key") offer().catch(() => {}); });
  }

  // The form of a callback shows the body of the event that is chosen.
  document.querySelector("form[data-try] select[name=event]")?.addEventListener("change", (e) => {
    for (const d of document.querySelectorAll("[data-sample]")) d.open = d.dataset.sample === e.target.value;
  });

  // Two keys work outside of fields. They can be turned off, for people whose software types
  // keys by itself.
  const help = document.getElementById("help");
  if (help) {
    const use = document.getElementById("help-keys"), opener = document.getElementById("help-open");
    const name = "callbackd-keys";
    try { use.checked = localStorage.getItem(name) !== "off"; } catch { use.checked = true; }
    use.addEventListener("change", () => { try { localStorage.setItem(name, use.checked ? "on" : "off"); } catch { /* the choice lasts as long as the page */ } });
    opener.hidden = false;
    opener.addEventListener("click", () => help.showModal());
    document.getElementById("help-close").addEventListener("click", () => help.close());
    document.addEventListener("keydown", (e) => {
      if (!use.checked || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || help.open || e.target.closest("input, select, textarea, [contenteditable]")) return;
      if (e.key === "/") document.getElementById("find").focus();
      else if (e.key === "?") help.showModal();
      else return;
      e.preventDefault();
    });
  }

  // The live tail. Rows are inserted as text, never as HTML.
  const tail = document.getElementById("tail");
  if (tail) {
    const pulse = document.getElementById("pulse"), rate = document.getElementById("rate");
    const start = document.getElementById("start"), stop = document.getElementById("stop");
    const shape = document.getElementById("row");
    let source = null;
    const showStatus = (on, text) => { pulse.classList.toggle("on", on); rate.textContent = text; start.hidden = on; stop.hidden = !on; };
    const begin = () => {
      source = new EventSource(tail.dataset.stream);
      source.addEventListener("open", () => showStatus(true, "Listening for attempts."));
      source.addEventListener("error", () => showStatus(false, "Connection lost. Reconnecting."));
      source.addEventListener("rate", (e) => showStatus(true, e.data));
      source.addEventListener("row", (e) => {
        const d = JSON.parse(e.data), row = shape.content.firstElementChild.cloneNode(true);
        const put = (name, text) => { row.querySelector("[data-" + name + "]").textContent = text; };
        put("time", d.time); put("event", d.event); put("session", d.session); put("receiver", d.receiver); put("status", d.status); put("took", d.took);
        row.querySelector("a").href = d.href;
        const mark = document.getElementById("mark-" + d.state);
        if (mark) row.querySelector("[data-state]").replaceWith(mark.content.firstElementChild.cloneNode(true));
        tail.prepend(row);
        while (tail.childElementCount > 200) tail.lastElementChild.remove();
      });
    };
    start.addEventListener("click", begin);
    stop.addEventListener("click", () => { source.close(); showStatus(false, "Stopped."); });
    begin();
  }
})();
