// Sets light or dark before the first paint, so that the page never flashes in the other one.
(function () {
  var stored = null;
  try {
    stored = localStorage.getItem("stead-scheme");
  } catch {
    // Storage may be refused; the preference of the system then decides.
  }
  var dark = stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
