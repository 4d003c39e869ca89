"use strict";
const filter = document.getElementById("filter");
const marked = document.querySelectorAll("main [data-task], main [data-method]");

// Show what belongs to the chosen task and method; hide tables and sections without any of it.
function apply() {
  const task = filter.elements.task.value;
  const method = filter.elements.method.value;
  for (const element of marked) {
    const own = element.dataset;
    const off = (task && own.task && own.task !== task)
      || (method && own.method && own.method !== method);
    element.toggleAttribute("data-off", Boolean(off));
  }
  for (const part of document.querySelectorAll("main article, main section:not(.run)")) {
    const cells = part.querySelectorAll("th[data-task], figure[data-task], tbody tr[data-task]");
    const rows = part.querySelectorAll("tbody tr[data-method]");
    const hidden = (found) => found.length > 0
      && [...found].every((one) => one.hasAttribute("data-off"));
    part.toggleAttribute("data-off", Boolean((task && hidden(cells)) || (method && hidden(rows))));
  }
}
filter.hidden = false;
filter.addEventListener("change", apply);
filter.addEventListener("reset", () => setTimeout(apply));
apply();  // a browser may restore an earlier choice

// Pictures open at their natural size, which may scroll.
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    large.querySelector("img").src = image.src;
    large.querySelector("img").alt = image.alt;
    large.querySelector("p").textContent = button.parentElement.querySelector("b").textContent
      .replace(/:$/, "");
    large.showModal();
  });
}
large.addEventListener("click", (event) => {
  if (!event.target.closest("form")) large.close();
});

// Light, dark, or as the system is.
const theme = document.getElementById("theme");
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
theme.hidden = false;

// Commands are copied; where the browser forbids it they are selected.
for (const button of document.querySelectorAll(".again button")) {
  const text = button.previousElementSibling;
  button.hidden = false;
  button.addEventListener("click", () => {
    const select = () => getSelection().selectAllChildren(text);
    if (!navigator.clipboard) { select(); return; }
    navigator.clipboard.writeText(text.textContent)
      .then(() => { button.textContent = "Copied"; }, select);
  });
}
