// How much longer the reviewer holds the item, counted down in the browser; the server alone says when it is over.

const TICK_MS = 1000;
const SOON_MS = 120_000;

function told(left) {
  if (left <= 0) return "Your hold has lapsed";
  const seconds = Math.ceil(left / 1000);
  return `Yours for ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export default function hold({ data, parentElement }) {
  const text = parentElement.querySelector(".hold");
  // The two clocks differ; only the time that was left when the page was drawn counts.
  const end = performance.now() + data.left_ms;
  const tick = () => {
    const left = end - performance.now();
    text.textContent = told(left);
    text.dataset.state = left <= 0 ? "over" : left < SOON_MS ? "soon" : "long";
  };
  tick();
  const timer = setInterval(tick, TICK_MS);
  return () => clearInterval(timer);
}
