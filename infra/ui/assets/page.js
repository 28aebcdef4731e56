// The page in the browser: shows what the server sends, keeps ages and countdowns going, and turns clicks and keys into addresses.
// It computes nothing about a town. What it shows is HTML that the server made; here it is only merged into what is there.
(() => {
  "use strict";
  const page = () => document.getElementById("page");
  const $ = (what, within = document) => within.querySelector(what);
  const $$ = (what, within = document) => [...within.querySelectorAll(what)];
  const send = (name, what) => window.emitEvent && window.emitEvent(name, what);
  const here = () => location.pathname + location.search;
  let heard = Date.now();      // when the server last said something
  let asked = null;            // the address that was asked for and not yet shown
  let playing = null;

  // ---- merging new HTML into the page: only what differs is touched, so nothing flashes, and scroll and focus stay
  const sameKind = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "") &&
    (a.dataset?.key || "") === (b.dataset?.key || "");
  // data-own: only the browser changes it (the finder, the toast). An armed button stays armed while its command stays the same.
  const own = (e, fresh) => e.dataset?.own !== undefined || (e.dataset?.asked && !e.disabled && e.value === fresh.value);
  function merge(old, fresh) {
    if (own(old, fresh)) return;
    if (old.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
    if (old.nodeType !== Node.ELEMENT_NODE || old.isEqualNode(fresh)) return;
    const mine = (name) => (name === "hidden" && old.dataset.mine) || (name === "open" && old.nodeName === "DETAILS");
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !mine(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    if (old.nodeName === "INPUT" || old.nodeName === "SELECT" || old.nodeName === "TEXTAREA") {
      if (document.activeElement !== old && !old.closest("form[data-do]")) old.value = fresh.getAttribute("value") ?? "";
      if (old.nodeName !== "SELECT") return;
    }
    const keyed = new Map();
    for (const child of old.children) { const key = child.id || child.dataset.key; if (key) keyed.set(key, child); }
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const key = next.nodeType === 1 && (next.id || next.dataset.key);
      const moved = key ? keyed.get(key) : null;
      if (moved && moved !== at) { old.insertBefore(moved, at); at = moved; }
      if (at && sameKind(at, next)) { merge(at, next); at = at.nextSibling; }
      else { old.insertBefore(next.cloneNode(true), at); }
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  }

  function show(html, address, how) {
    heard = Date.now();
    const box = document.createElement("template");
    box.innerHTML = html;
    const fresh = box.content.firstElementChild;
    const moved = address !== here();
    if (how === "refresh" && (moved || asked)) return;      // somebody has gone elsewhere in the meantime
    if (moved) history[how === "replace" ? "replaceState" : "pushState"]({}, "", address);
    const other = page().dataset.view !== fresh.dataset.view, focused = document.activeElement;
    merge(page(), fresh);
    if (document.activeElement !== focused && document.contains(focused)) focused.focus({ preventScroll: true });   // its row has moved
    document.title = page().dataset.title;
    asked = null;
    if (other) scrollTo(0, 0);
    settle();
  }

  function settle() { tickTimes(); applyFilter(); reach(); readSlider(); openedOnes(); }

  // ---- ages, countdowns and fuses
  const two = (n) => String(n).padStart(2, "0");
  function span(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    const [a, u, b, v] = s < 86400 ? [Math.floor(s / 3600), "h", Math.floor(s % 3600 / 60), "min"] : [Math.floor(s / 86400), "d", Math.floor(s % 86400 / 3600), "h"];
    return b ? `${a} ${u} ${b} ${v}` : `${a} ${u}`;
  }
  function left(ms) {
    if (ms <= -10000) return `${span(-ms)} late`;
    const s = Math.ceil(ms / 1000);
    if (s <= 0) return "due";
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : span(ms);
  }
  let base = 0, started = 0, shownAt = "";
  const now = () => base + (page().dataset.past ? 0 : Date.now() - started);
  function tickTimes() {
    const said = page().dataset.now;
    if (said && said !== shownAt) { base = +said; started = Date.now(); shownAt = said; }
    if (!base) return;
    const at = now(), put = (e, text) => { if (e.textContent !== text) e.textContent = text; };
    const stale = page().classList.contains("is-stale");
    for (const e of $$("[data-since]")) put(e, span(at - e.dataset.since) + (e.dataset.suffix || ""));
    for (const e of $$("[data-due]")) {
      if (stale) { put(e, `was due at ${new Date(+e.dataset.due).toISOString().slice(11, 19)}`); continue; }
      put(e, left(e.dataset.due - at)); e.classList.toggle("late", e.dataset.due - at <= -10000);
    }
    for (const e of $$("[data-fuse]")) {
      const [from, to] = e.dataset.fuse.split(" ").map(Number);
      e.style.width = `${Math.min(100, Math.max(0, (at - from) / Math.max(1, to - from) * 100)).toFixed(1)}%`;
    }
    for (const e of $$("[data-clock]")) put(e, new Date(at).toISOString().slice(11, 19));
  }
  setInterval(() => {
    const silent = Date.now() - heard, every = +page().dataset.every || 2000;
    const stale = !page().dataset.past && silent > 3 * every + 2000;
    page().classList.toggle("is-stale", stale);
    const chip = $(".asof");
    if (chip) { chip.classList.toggle("stale", stale); const w = $(".warn b", chip); if (w && stale) w.textContent = `Stale, ${span(silent)}`; }
    tickTimes();
  }, 1000);

  // ---- the filter works on the rows that are here
  function applyFilter() {
    const field = $("[data-filter]");
    if (!field) return;
    const word = field.value.trim().toLowerCase();
    let shown = 0, all = 0;
    for (const row of $$("[data-row]")) {
      all += 1;
      const fits = !word || (row.dataset.row + " " + row.textContent).toLowerCase().includes(word);
      row.hidden = !fits; if (!fits) row.dataset.mine = "1"; else delete row.dataset.mine;
      shown += fits ? 1 : 0;
    }
    for (const group of $$("[data-group]")) group.hidden = !!word && !$$(`[data-in="${group.dataset.group}"]`).some((row) => !row.hidden);
    const none = $("[data-none]");
    if (none) { none.hidden = !word || shown > 0; const b = $("b", none); if (b) b.textContent = `0 of ${all}.`; }
  }
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-filter]")) {
      applyFilter();
      const url = new URL(location.href);
      event.target.value ? url.searchParams.set("q", event.target.value) : url.searchParams.delete("q");
      history.replaceState({}, "", url);
      send("address", { to: here() });
    }
    if (event.target.matches("[data-slider]")) slide(event.target);
    if (event.target.matches("[data-echo]")) { const out = $(`#${event.target.dataset.echo}`); if (out) out.textContent = `${event.target.value} s`; }
  });

  // ---- going places
  function go(to, how) {
    if (to === here() && how !== "again") { return; }
    asked = to;
    send("go", { to, how: how || "push" });
    setTimeout(() => { if (asked === to) page().setAttribute("aria-busy", "true"); }, 300);
  }
  document.addEventListener("click", (event) => {
    const t = event.target.closest("[data-copy],[data-key-press],[data-do],[data-open],a[href]");
    if (!t) { if (event.target.classList?.contains("overlay")) closeAll(); return; }
    if (t.dataset.copy !== undefined) { event.preventDefault(); copy(t.dataset.copy, "Command copied"); return; }
    if (t.dataset.keyPress) { event.preventDefault(); press(t.dataset.keyPress); return; }
    if (t.dataset.do && t.nodeName === "BUTTON" && t.type === "button") {
      event.preventDefault();
      if (t.dataset.sure && !t.dataset.asked) { t.dataset.asked = "1"; t.lastChild.textContent = t.dataset.sure; return; }
      t.disabled = true; t.lastChild.textContent = "runs…";      // until the answer is merged into the page
      send("act", { what: t.dataset.do, value: t.value, to: here() }); return;
    }
    if (t.nodeName !== "A" && t.nodeName !== "a") return;
    const href = t.getAttribute("href");
    if (!href || !href.startsWith("/") || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault(); closeAll(); go(href);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-do]");
    if (!form) return;
    event.preventDefault();
    const fields = {};
    for (const [name, value] of new FormData(form)) (fields[name] = fields[name] || []).push(value);
    send("act", { what: form.dataset.do, fields, to: here() });
    const out = $("[data-status]", form); if (out) out.textContent = "runs…";
  });
  document.addEventListener("change", (event) => { const to = event.target.selectedOptions?.[0]?.dataset.href; if (to) go(to); });
  addEventListener("popstate", () => go(here(), "again"));

  function copy(text, said) { navigator.clipboard?.writeText(text).catch(() => {}); toast(said); }
  let toasting = 0;
  function toast(text) {
    const t = $("#toast"); t.textContent = text; t.classList.add("on");
    clearTimeout(toasting); toasting = setTimeout(() => t.classList.remove("on"), 1800);
  }

  // What was refused stands beside the field and stays; what was done is brought into sight.
  function beside(id, text) { const e = $(`#${id}`); if (e) e.textContent = text; }
  function reveal(id) { const e = $(`#${id}`), box = e?.getBoundingClientRect(); if (box && (box.top < 44 || box.top > innerHeight / 2)) e.scrollIntoView(); }
  let opened = "";
  function openedOnes() {
    const e = $("[data-opened]"), name = e?.dataset.opened || "";
    if (name && name !== opened) { const box = e.getBoundingClientRect(); if (box.top < 44 || box.bottom > innerHeight / 2) e.scrollIntoView(); }
    opened = name;
  }

  // ---- overlays: find, keys, what a rule does
  const overlays = ["find", "keys", "rule"];
  let opener = null;
  function open(name) { closeAll(); opener = document.activeElement; const o = $(`#${name}`); o.hidden = false; ($("input", o) || $("[tabindex]", o) || o).focus(); if (name === "find") found(""); }
  function closeAll() { let was = false; for (const n of overlays) { const o = $(`#${n}`); if (o && !o.hidden) { o.hidden = true; was = true; } } if (was) opener?.focus?.(); return was; }
  let places = [];
  function found(word) {
    const w = word.toLowerCase(), list = $("#find ul");
    places = (window.townPlaces || []).filter((p) => !w || p.text.toLowerCase().includes(w) || p.id.toLowerCase().startsWith(w)).slice(0, 30);
    if (/^\d+$/.test(w) && page().dataset.town) places.unshift({ text: `Tick ${w}`, id: w, kind: "tick", href: `/t/${encodeURIComponent(page().dataset.town)}/timeline?tick=${w}` });
    list.replaceChildren(...places.map((p, i) => {
      const li = document.createElement("li"), a = document.createElement("a"), kind = document.createElement("span");
      a.href = p.href; a.textContent = p.text; kind.textContent = p.kind; kind.className = "meta"; a.append(kind);
      if (i === 0) a.className = "on"; li.append(a); return li;
    }));
    if (!places.length) { const li = document.createElement("li"); li.className = "empty"; li.textContent = "Nothing of that name."; list.append(li); }
  }
  document.addEventListener("input", (event) => { if (event.target.matches("#find input")) found(event.target.value); });
  document.addEventListener("click", (event) => {
    const c = event.target.closest(".chip[data-rule]");
    if (!c || !c.title) return;
    event.preventDefault(); event.stopPropagation();
    $("#rule h2").textContent = `Rule ${c.dataset.rule}`; $("#rule p").textContent = c.title; open("rule");
  }, true);

  // ---- keys
  let chord = "";
  const town = () => (page().dataset.town ? `/t/${encodeURIComponent(page().dataset.town)}` : "");
  const at = () => { const a = new URL(location.href).searchParams.get("at"); return a ? `?at=${encodeURIComponent(a)}` : ""; };
  const click = (what) => { const e = $(what); if (e) { e.click(); return true; } return false; };
  function rows() { return $$("[data-row]").filter((r) => !r.hidden && r.offsetParent !== null); }
  function step(by) {
    const all = rows(); if (!all.length) return;
    const i = all.findIndex((r) => r.contains(document.activeElement));
    const next = all[Math.min(all.length - 1, Math.max(0, i + by))];
    ($("a", next) || next).focus(); next.scrollIntoView({ block: "nearest" });
  }
  function press(key) {
    if (chord === "g") {
      chord = "";
      const to = { f: "/", t: town(), l: `${town()}/timeline`, m: `${town()}/machine`, b: `${town()}/beads`, a: `${town()}/agents`, r: `${town()}/reviews`, s: `${town()}/settings` }[key];
      if (to !== undefined && (town() || key === "f")) go((to || "/") + (key === "f" ? "" : at()));
      return true;
    }
    switch (key) {
      case "g": chord = "g"; setTimeout(() => { chord = ""; }, 1200); return true;
      case "/": open("find"); return true;
      case "?": open("keys"); return true;
      case "j": step(1); return true;
      case "k": step(-1); return true;
      case "f": { const f = $("[data-filter]"); if (f) f.focus(); return !!f; }
      case "v": return click("[data-other-view]");
      case "[": return click("[data-step='-1']");
      case "]": return click("[data-step='1']");
      case "{": return click("[data-step='-2']");
      case "}": return click("[data-step='2']");
      case "+": case "=": return click("[data-zoom='in']");
      case "-": return click("[data-zoom='out']");
      case "ArrowLeft": return click("[data-zoom='left']");
      case "ArrowRight": return click("[data-zoom='right']");
      case "0": return click("[data-zoom='all']");
      case " ": { const s = $("[data-slider]"); if (!s) return false; play(s); return true; }
      case "@": { const a = $("[data-at]"); if (a) a.focus(); return !!a; }
      case "L": return click("[data-live]");
      case "y": copy(location.href, "Link copied"); return true;
      case "c": { const b = document.activeElement?.closest("[data-row],.card")?.querySelector("[data-copy]") || $("[data-copy]"); if (b) b.click(); return !!b; }
      case "d": theme(); return true;
      case "Escape": if (closeAll()) return true; if (document.activeElement?.matches("input")) { document.activeElement.blur(); return true; } return click("[data-close]");
    }
    return false;
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input,select,textarea")) {
      if (event.key === "Escape") press("Escape");
      if (event.target.matches("#find input")) {
        const all = $$("#find li a"), i = all.findIndex((a) => a.classList.contains("on"));
        if (event.key === "Enter" && all[Math.max(i, 0)]) { event.preventDefault(); all[Math.max(i, 0)].click(); }
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
          event.preventDefault(); all[i]?.classList.remove("on");
          const next = all[Math.min(all.length - 1, Math.max(0, i + (event.key === "ArrowDown" ? 1 : -1)))]; next?.classList.add("on"); next?.scrollIntoView({ block: "nearest" });
        }
      }
      if (event.target.matches("[data-at]") && event.key === "Enter") {
        event.preventDefault(); beside("go-to-said", ""); send("act", { what: "go_to", value: event.target.value, to: here() });
      }
      return;
    }
    if (event.target.matches("button,summary") && (event.key === " " || event.key === "Enter")) return;
    if (press(event.key)) event.preventDefault();
  });
  function theme() {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next; localStorage.setItem("town-theme", next);
  }

  // ---- a bead lights up everywhere it stands, with what it waits for
  let lit = "";
  function reach() { if (lit) light(lit); }
  function light(id) {
    for (const e of $$(".lit")) e.classList.remove("lit");
    lit = id;
    if (!id) return;
    const node = $(`[data-node="${CSS.escape(id)}"]`);
    const ids = new Set([id, ...(node?.dataset.near || "").split(" ").filter(Boolean)]);
    for (const e of $$("[data-node],[data-key]")) if (ids.has(e.dataset.node || e.dataset.key)) e.classList.add("lit");
  }
  document.addEventListener("mouseover", (event) => {
    const e = event.target.closest("[data-node],.bead[data-key]");
    const id = e ? e.dataset.node || e.dataset.key : "";
    if (id !== lit) light(id);
  });

  // ---- timeline: wheel and drag zoom and pan, a drag over the overview chooses a window
  function windowOf(e) { return e.dataset.window.split(" ").map(Number); }
  const iso = (ms) => new Date(Math.round(ms)).toISOString();
  function goWindow(from, to) {
    const url = new URL(location.href);
    url.searchParams.set("from", iso(from)); url.searchParams.set("to", iso(Math.max(to, from + 1000))); url.searchParams.delete("span");
    go(url.pathname + url.search, "replace");
  }
  let zooming = 0;
  document.addEventListener("wheel", (event) => {
    const lanes = event.target.closest("[data-window]");
    if (!lanes || !(event.ctrlKey || event.shiftKey)) return;
    event.preventDefault();
    const [from, to] = windowOf(lanes), box = lanes.getBoundingClientRect(), share = (event.clientX - box.left) / box.width, by = event.deltaY > 0 ? 1.35 : 1 / 1.35;
    const mid = from + (to - from) * share;
    clearTimeout(zooming); zooming = setTimeout(() => goWindow(mid - (mid - from) * by, mid + (to - mid) * by), 60);
  }, { passive: false });
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const over = event.target.closest("[data-brush],[data-window]");
    if (!over || event.button || event.target.closest("a,button,input")) return;
    drag = { over, x: event.clientX, moved: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const by = event.clientX - drag.x; if (Math.abs(by) > 4) drag.moved = true;
    if (!drag.moved) return;
    if (drag.over.dataset.brush) {
      const mark = $("[data-brushing]", drag.over.parentElement), box = drag.over.getBoundingClientRect();
      if (mark) { mark.style.display = "block"; mark.style.left = `${Math.min(drag.x, event.clientX) - box.left}px`; mark.style.width = `${Math.abs(by)}px`; }
    } else { for (const e of $$("[data-moves]")) e.style.transform = `translateX(${by}px)`; }
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { over, x, moved } = drag; drag = null;
    const box = over.getBoundingClientRect(), by = event.clientX - x;
    for (const e of $$("[data-moves]")) e.style.transform = "";
    const mark = $("[data-brushing]", over.parentElement); if (mark) mark.style.display = "none";
    const [from, to] = (over.dataset.brush || over.dataset.window).split(" ").map(Number), wide = to - from;
    if (over.dataset.brush) {
      const a = from + wide * (Math.min(x, event.clientX) - box.left) / box.width, b = from + wide * (Math.max(x, event.clientX) - box.left) / box.width;
      if (moved) goWindow(a, b); else { const half = +over.dataset.wide / 2; goWindow(a - half, a + half); }
    } else if (moved) goWindow(from - wide * by / box.width, to - wide * by / box.width);
  });

  // ---- time machine: the slider goes over commits
  let sliding = 0;
  function stops() { const s = $("[data-stops]"); return s ? JSON.parse(s.dataset.stops) : []; }
  function readSlider() { const s = $("[data-slider]"); if (s && document.activeElement !== s) { s.value = s.getAttribute("value"); knob(s); } }
  function knob(s) { const k = $("[data-knob]"), all = stops(); if (k && all.length) k.style.left = `${(all[s.value]?.share ?? 1) * 100}%`; }
  function slide(s) {
    const all = stops(), stop = all[s.value]; if (!stop) return;
    knob(s);
    const label = $("[data-sliding]"); if (label) label.textContent = stop.label;
    clearTimeout(sliding); sliding = setTimeout(() => { const url = new URL(location.href); stop.at ? url.searchParams.set("at", stop.at) : url.searchParams.delete("at"); go(url.pathname + url.search, "replace"); }, 120);
  }
  function play(s) {
    if (playing) { clearInterval(playing); playing = null; return; }
    playing = setInterval(() => {
      if (!document.contains(s) || +s.value >= +s.max) { clearInterval(playing); playing = null; return; }
      s.value = +s.value + 1; slide(s);
    }, 700);
  }
  document.addEventListener("click", (event) => { if (event.target.closest("[data-play]")) { const s = $("[data-slider]"); if (s) play(s); } });

  window.townPage = { show, toast, beside, reveal, heard: () => { heard = Date.now(); }, places: (all) => { window.townPlaces = all; }, address: here };
  document.addEventListener("DOMContentLoaded", settle);
})();
