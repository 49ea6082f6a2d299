(() => {
  let kept = {};
  try { kept = localStorage } catch {}
  const dark = document.getElementById("dark"), auto = dark.media, system = matchMedia("(prefers-color-scheme: dark)");
  const bars = [...document.querySelectorAll("meta[name=theme-color]")], media = bars.map(bar => bar.media);
  let choice = kept.theme;
  const isDark = () => choice ? choice === "dark" : system.matches;
  const show = () => {
    dark.media = choice ? (isDark() ? "screen" : "not all") : auto;
    bars.forEach((bar, index) => bar.media = choice ? ((index === 1) === isDark() ? "all" : "not all") : media[index]);
  };
  show();

  // A first visit is not kept waiting by fonts: they are fetched when its page is there, and used from the next one on.
  const fonts = document.getElementById("fonts");
  const fetched = rule => fetch(new URL(/url\("(.+?)"\)/.exec(rule.cssText)[1], fonts.href)).then(font => font.blob());
  if (location.protocol === "file:" || kept.fonts === fonts.href) fonts.media = "all";
  else if (!navigator.connection?.saveData) addEventListener("load", () => setTimeout(async () => {
    try {
      await Promise.all([...fonts.sheet.cssRules].map(fetched));
      kept.fonts = fonts.href;
    } catch {}
  }, 2000));

  addEventListener("error", event => event.target.closest?.(".frame")?.classList.add("lost"), true);

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => button.ariaLabel = isDark() ? "Switch to light colours" : "Switch to dark colours";
    button.onclick = () => {
      choice = isDark() ? "light" : "dark";
      if ((choice === "dark") === system.matches) choice = "";
      kept.theme = choice;
      show();
      label();
    };
    system.onchange = label;
    label();
    button.hidden = false;
  });
})();
