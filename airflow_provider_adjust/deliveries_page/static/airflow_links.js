// Airflow shows this page in a frame that may not open other pages of Airflow. Its own document may, and is of the same
// origin, so the link is followed there.
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
      // A frame of somebody else's; the link does what it can.
    }
  });
}
