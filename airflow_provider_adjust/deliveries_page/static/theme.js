// Applies the theme, light or dark, that Airflow keeps in the browser; without one, the system's. Marks a page within a frame.
"use strict";

(() => {
  const follow = () => {
    let theme = null;
    try {
      theme = localStorage.getItem("theme");
    } catch {
      // The browser may forbid storage. The system's theme applies then.
    }
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  document.documentElement.toggleAttribute("data-framed", parent !== window);
  follow();
  addEventListener("storage", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
})();
