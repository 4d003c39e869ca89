"use strict";
const filter = document.getElementById("filter");
const marked = document.querySelectorAll("main [data-task], main [data-method]");
function apply() {
  const task = filter.elements.task.value;
  const method = filter.elements.method.value;
  for (const element of marked) {
    const own = element.dataset;
    const off = (task && own.task && own.task !== task)
      || (method && own.method && own.method !== method);
    element.toggleAttribute("data-off", Boolean(off));
  }
}
filter.hidden = false;
filter.addEventListener("change", apply);
filter.addEventListener("reset", () => setTimeout(apply));
apply();  // a browser may restore an earlier choice
