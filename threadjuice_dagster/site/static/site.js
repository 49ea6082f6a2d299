(() => {
  const dark = document.getElementById("dark"), auto = dark.media, system = matchMedia("(prefers-color-scheme: dark)");
  const bars = [...document.querySelectorAll("meta[name=theme-color]")], media = bars.map(bar => bar.media);
  let choice = null;
  const isDark = () => choice ? choice === "dark" : system.matches;
  const show = () => {
    dark.media = choice ? (isDark() ? "screen" : "not all") : auto;
    bars.forEach((bar, index) => bar.media = choice ? ((index === 1) === isDark() ? "all" : "not all") : media[index]);
  };
  try { choice = localStorage.getItem("theme") } catch {}
  show();

  addEventListener("error", event => event.target.closest?.(".frame")?.classList.add("lost"), true);

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => button.ariaLabel = isDark() ? "Switch to light colours" : "Switch to dark colours";
    button.onclick = () => {
      choice = isDark() ? "light" : "dark";
      if ((choice === "dark") === system.matches) choice = null;
      try { choice ? localStorage.setItem("theme", choice) : localStorage.removeItem("theme") } catch {}
      show();
      label();
    };
    system.onchange = label;
    label();
    button.hidden = false;
  });
})();
