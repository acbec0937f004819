// Says that the next view is being made, from a click until it is there.
"use strict";

(() => {
  const sign = document.querySelector(".loading");
  const show = (is) => {
    sign.textContent = is ? "Loading …" : "";
    document.documentElement.toggleAttribute("data-loading", is);
  };
  document.addEventListener("submit", () => show(true));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || link.target || link.dataset.airflow !== undefined || event.defaultPrevented) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    // A link within the page loads nothing.
    const href = link.href.baseVal ?? link.href;
    const to = new URL(href, location.href);
    if (to.hash && to.pathname === location.pathname && to.search === location.search) return;
    show(true);
  });
  addEventListener("pageshow", () => show(false));
})();
