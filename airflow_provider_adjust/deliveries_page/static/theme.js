// Follows Airflow's own choice of light or dark, which it keeps in the browser; without one the system's counts.
"use strict";

(() => {
  const follow = () => {
    let theme = null;
    try {
      theme = localStorage.getItem("theme");
    } catch {
      // Storage may be forbidden; then the system's theme it is.
    }
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    document.dispatchEvent(new Event("themechange"));
  };
  follow();
  addEventListener("storage", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
})();
