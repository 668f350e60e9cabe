"use strict";
// The sliders. Left of the divider lies the capture, right of it the restoration.
for (const viewer of document.querySelectorAll(".viewer")) {
  const find = (selector) => viewer.querySelector(selector);
  const frame = find(".window"), stage = find(".stage"), canvas = find(".canvas");
  const after = find(".after"), map = find(".map"), divider = find(".divider"), range = find("input");
  const columns = Number(viewer.dataset.columns), rows = Number(viewer.dataset.rows);
  let zoom = 0;
  if (map) {  // blocks at the right and lower edge reach beyond the frame
    map.style.width = `${(100 * map.dataset.columns) / columns}%`;
    map.style.height = `${(100 * map.dataset.rows) / rows}%`;
  }

  // The divider stands still on the screen while the picture is scrolled beneath it.
  function draw() {
    const share = Number(range.value) / 100;
    const cut = share * stage.clientWidth;
    const inside = Math.min(Math.max(cut + stage.scrollLeft, 0), canvas.clientWidth);
    after.style.clipPath = `inset(0 0 0 ${inside}px)`;
    divider.style.left = `${cut}px`;
    find(".tag.left").hidden = share < 0.2;
    find(".tag.right").hidden = share > 0.8;
    range.setAttribute("aria-valuetext", `${Math.round(share * 100)} % capture`);
  }

  function setSplit(percent) {
    range.value = Math.min(Math.max(percent, 0), 100);
    draw();
  }

  // What was in the middle of the window stays there.
  function setZoom(next) {
    const before = canvas.clientWidth;
    const x = (stage.scrollLeft + stage.clientWidth / 2) / before;
    const y = (stage.scrollTop + stage.clientHeight / 2) / Math.max(canvas.clientHeight, 1);
    zoom = next;
    stage.classList.toggle("zoomed", zoom > 0);
    // To fit is to fit the screen's height too.
    frame.style.maxWidth = zoom ? "" : `${(0.75 * window.innerHeight * columns) / rows}px`;
    canvas.style.width = zoom ? `${(columns * zoom) / window.devicePixelRatio}px` : "";
    if (!before) return draw(); // in a dialog that is closed
    stage.scrollLeft = x * canvas.clientWidth - stage.clientWidth / 2;
    stage.scrollTop = y * canvas.clientHeight - stage.clientHeight / 2;
    for (const button of viewer.querySelectorAll("[data-zoom]"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.zoom) === zoom));
    draw();
  }

  function toggleMap() {
    if (!map) return;
    map.hidden = !map.hidden;
    find("[data-map]").setAttribute("aria-pressed", String(!map.hidden));
  }

  function splitAt(event) {
    const box = frame.getBoundingClientRect();
    setSplit((100 * (event.clientX - box.left)) / stage.clientWidth);
  }

  // The grip moves the divider; the picture does too while it fits, and is dragged when zoomed in.
  // A finger scrolls the picture by itself.
  function drag(element, begin, move) {
    let held = null;
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      held = begin(event);
      if (held) element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => { if (held) move(event, held); });
    for (const end of ["pointerup", "pointercancel"])
      element.addEventListener(end, () => { held = null; });
  }
  drag(divider, () => ({}), splitAt);
  drag(stage,
    (event) => {
      if (event.pointerType === "touch" && zoom) return null;
      if (!zoom) splitAt(event);
      return { x: event.clientX + stage.scrollLeft, y: event.clientY + stage.scrollTop };
    },
    (event, held) => {
      if (!zoom) return splitAt(event);
      stage.scrollLeft = held.x - event.clientX;
      stage.scrollTop = held.y - event.clientY;
    });

  range.addEventListener("input", draw);
  stage.addEventListener("scroll", draw);
  new ResizeObserver(draw).observe(frame);
  window.addEventListener("resize", () => setZoom(zoom));
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.zoom) setZoom(Number(button.dataset.zoom));
    if (button.dataset.split) setSplit(Number(button.dataset.split));
    if ("map" in button.dataset) toggleMap();
  });
  const keys = {
    0: () => setZoom(0), 1: () => setZoom(1), 2: () => setZoom(2),
    c: () => setSplit(100), b: () => setSplit(50), r: () => setSplit(0), m: toggleMap,
  };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  viewer.classList.add("live");
  setZoom(0);
}
