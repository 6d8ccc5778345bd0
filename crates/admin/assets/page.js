// Copy buttons only: the page says everything without a script.
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    const id = button.dataset.copy;
    const source = id === "code"
      ? [...document.querySelectorAll("pre.code")].find((block) => block.offsetParent !== null)
      : document.getElementById(id);
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
