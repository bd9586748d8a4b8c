// Draws the diagrams, and draws them anew when the reader changes between light and dark.
const diagrams = [...document.querySelectorAll("pre.mermaid")].map((place) => [place, place.textContent]);

const isDark = () => {
  const theme = document.body.dataset.theme;
  return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
};

let drawn;
const draw = () => {
  if (drawn === isDark()) return;
  drawn = isDark();
  mermaid.initialize({ startOnLoad: false, theme: drawn ? "dark" : "neutral" });
  for (const [place, text] of diagrams) {
    place.textContent = text;
    delete place.dataset.processed;
  }
  mermaid.run({ nodes: diagrams.map(([place]) => place) });
};

if (diagrams.length > 0) {
  draw();
  new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
