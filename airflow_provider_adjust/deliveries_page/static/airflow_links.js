// Airflow shows this page in a frame that may not open Airflow's other pages. The document around the frame may, and has
// the same origin, so links to Airflow are followed there.
"use strict";

if (parent !== window) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || event.defaultPrevented) return;
    try {
      const outer = parent.document.createElement("a");
      outer.href = link.href;
      if (event.ctrlKey || event.metaKey || event.shiftKey) outer.target = "_blank";
      outer.click();
      event.preventDefault();
    } catch {
      // The frame is in a document of another origin. The browser follows the link as usual.
    }
  });
}
