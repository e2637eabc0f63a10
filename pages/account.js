// The account's menu is shut before a dialog opens from it: once that closes, the focus goes back to the menu's button.

export default function account({ parentElement }) {
  const button = () => document.querySelector(".st-key-account button");
  const pressed = ({ target }) => {
    const isInMenu = button()?.getAttribute("aria-expanded") === "true" && target.closest('[data-testid="stPopoverBody"]');
    if (isInMenu) giveBack(parentElement, () => button()?.focus());
  };
  document.addEventListener("click", pressed, true);
  return () => document.removeEventListener("click", pressed, true);
}
