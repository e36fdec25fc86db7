// The store works without this file. With it: the theme switch, adding to the cart without leaving
// the page, and buttons that can't be pressed twice.
(() => {
  const root = document.documentElement;
  const year = 31_536_000;

  const toggle = document.querySelector("[data-theme-toggle]");
  if (toggle) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      document.cookie = `shop_theme=${root.dataset.theme}; path=/; max-age=${year}; samesite=lax`;
    });
  }

  const notice = document.querySelector("[data-notice]");
  let fading;
  function say(text, link) {
    notice.replaceChildren(document.createTextNode(text));
    if (link) {
      const a = document.createElement("a");
      a.href = link;
      a.textContent = "View cart";
      notice.append(" ", a);
    }
    notice.classList.add("shown");
    clearTimeout(fading);
    fading = setTimeout(() => notice.classList.remove("shown"), 4_000);
  }

  function showCount(count) {
    const badge = document.querySelector("[data-cart-count]");
    badge.textContent = count;
    badge.hidden = count === 0;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const button = form.querySelector("button[type=submit], button:not([type])");
    if (form.matches("[data-add]")) {
      event.preventDefault();
      button.disabled = true;
      try {
        const answer = await fetch(form.action, {
          method: "POST",
          headers: { accept: "application/json" },
          body: new URLSearchParams(new FormData(form)),
        });
        const body = await answer.json();
        if (!answer.ok) throw new Error(body.message);
        showCount(body.count);
        say(`${form.dataset.add} is in your cart.`, "/cart");
      } catch (error) {
        say(error.message || "That did not work. Please try again.");
      } finally {
        button.disabled = false;
      }
    } else if (form.matches("[data-once]")) {
      // After the form has been read: a disabled button would not be sent.
      setTimeout(() => {
        button.disabled = true;
        button.textContent = "One moment …";
      });
    }
  });

  // Coming back with the browser's button shows the page as it was left.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  for (const select of document.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
})();
