// Before the first paint, so that no page flashes white.
(() => {
  const kept = localStorage.getItem("town-theme");
  const dark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
