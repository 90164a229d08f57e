// Draws every chart of the page. Runs inside a function of its own: the Vega bundle before it does too.
(() => {
  const root = document.documentElement;
  const figures = [...document.querySelectorAll("[data-chart]")];
  const options = {
    ast: true, // expressions are interpreted: no eval, so `script-src` needs no 'unsafe-eval'
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const errors = [];
  const draw = async (holder) => {
    const spec = JSON.parse(document.getElementById(holder.dataset.chart).textContent);
    try {
      await window.vegaEmbed(holder, spec, options);
    } catch (error) {
      errors.push(`${holder.dataset.chart}: ${error.message}`);
      holder.textContent = "This chart could not be drawn; its numbers are in the table below it.";
    }
  };
  window.addEventListener("error", (event) => errors.push(event.message));
  document.addEventListener("securitypolicyviolation", (event) => errors.push(`blocked: ${event.violatedDirective}`));
  Promise.all(figures.map(draw)).then(() => {
    // The browser test waits for these two attributes.
    root.dataset.errors = errors.join(" | ");
    root.dataset.charts = String(figures.length);
  });
  // Paper gets every table; the screen gets back what was open.
  const tables = [...document.querySelectorAll("details")];
  let open = [];
  window.addEventListener("beforeprint", () => {
    open = tables.map((table) => table.open);
    for (const table of tables) table.open = true;
  });
  window.addEventListener("afterprint", () => tables.forEach((table, index) => (table.open = open[index])));
})();
