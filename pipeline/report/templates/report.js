for (const pair of document.querySelectorAll(".pair")) {
  const range = pair.querySelector("input");
  const move = () => pair.style.setProperty("--cut", range.value + "%");
  range.hidden = false;
  range.addEventListener("input", move);
  pair.classList.add("live");
  move();
}
