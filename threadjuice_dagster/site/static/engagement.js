(() => {
  const box = document.querySelector("[data-events]"), text = document.querySelector(".body");
  if (!box) return;
  const quiet = navigator.globalPrivacyControl || navigator.doNotTrack === "1" || location.protocol === "file:";
  const page = [...crypto.getRandomValues(new Uint32Array(4))].map(n => n.toString(16).padStart(8, "0")).join("");
  const told = new Set(), waiting = [];
  const visible = () => document.visibilityState === "visible";

  const note = event => {
    if (quiet || told.has(event)) return;
    told.add(event);
    waiting.push(event);
  };
  const look = () => {
    if (!visible()) return;
    note("view");
    const { top, height } = text.getBoundingClientRect();
    for (const quarter of [25, 50, 75, 100])
      if (100 * (innerHeight - top + 1) >= quarter * height) note("depth:" + quarter);
  };
  const send = () => {
    if (visible() || !waiting.length) return;
    const report = JSON.stringify({ story: box.dataset.story, page, events: waiting.splice(0) });
    navigator.sendBeacon(box.dataset.events, new Blob([report], { type: "application/json" }));
  };
  addEventListener("scroll", look, { passive: true });
  document.addEventListener("visibilitychange", () => (look(), send()));
  look();

  for (const button of box.querySelectorAll("[data-event]")) {
    button.hidden = quiet;
    button.onclick = () => {
      note(button.dataset.event);
      button.ariaPressed = "true";
    };
  }
  const share = box.querySelector("[data-copied]");
  share.hidden = !navigator.share && !navigator.clipboard;
  share.onclick = async () => {
    const url = document.querySelector("[rel=canonical]")?.href ?? location.href;
    try {
      if (navigator.share) await navigator.share({ title: document.title, url });
      else await navigator.clipboard.writeText(url);
    } catch { return }
    note(navigator.share ? "share:native" : "share:link");
    if (!navigator.share) share.textContent = share.dataset.copied;
  };
  box.hidden = false;
})();
