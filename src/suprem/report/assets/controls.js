// Buttons, sliders, the table of structures, mouse, touch and keys of one viewer.

const DRAG_HU_PER_PIXEL = 2;
const WHEEL_STEP = 40;
const KEYS = {
  ArrowUp: (viewer) => viewer.page(viewer.activePlane, 1),
  ArrowDown: (viewer) => viewer.page(viewer.activePlane, -1),
  PageUp: (viewer) => viewer.page(viewer.activePlane, 10),
  PageDown: (viewer) => viewer.page(viewer.activePlane, -10),
  ArrowLeft: (viewer) => viewer.controls.otherPlane(-1),
  ArrowRight: (viewer) => viewer.controls.otherPlane(1),
  o: (viewer) => viewer.toggleOverlays(),
  x: (viewer) => {
    viewer.crossOn = !viewer.crossOn;
    viewer.redraw();
  },
  "[": (viewer) => viewer.setOpacity(viewer.opacity - 10),
  "]": (viewer) => viewer.setOpacity(viewer.opacity + 10),
  "+": (viewer) => viewer.setZoom(viewer.zoom * 1.5),
  "=": (viewer) => viewer.setZoom(viewer.zoom * 1.5),
  "-": (viewer) => viewer.setZoom(viewer.zoom / 1.5),
  0: (viewer) => viewer.reset(),
};

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    this.hover = null;
    this.find = (selector) => viewer.section.querySelector(selector);
    this.rows = new Map();
    this.presets();
    this.sliders();
    this.buttons();
    this.table();
    for (const plane of viewer.planes) this.plane(plane);
  }

  presets() {
    const box = this.find(".presets");
    this.presetButtons = PRESETS.map((preset, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = preset.name;
      button.title = `level ${preset.level}, width ${preset.width} HU (key ${place + 1})`;
      button.addEventListener("click", () => this.viewer.setWindow(preset.level, preset.width));
      box.append(button);
      return button;
    });
  }

  sliders() {
    const { viewer } = this;
    const on = (selector, act) => this.find(selector).addEventListener("input", (event) => act(Number(event.target.value)));
    on(".level", (value) => viewer.setWindow(value, viewer.window.width));
    on(".width", (value) => viewer.setWindow(viewer.window.level, value));
    on(".opacity", (value) => viewer.setOpacity(value));
  }

  buttons() {
    const { viewer } = this;
    const on = (selector, act) => this.find(selector).addEventListener("click", act);
    on(".overlays", () => viewer.toggleOverlays());
    on(".zoom-in", () => viewer.setZoom(viewer.zoom * 1.5));
    on(".zoom-out", () => viewer.setZoom(viewer.zoom / 1.5));
    on(".reset", () => viewer.reset());
    on(".help", showHelp);
    on(".all", () => viewer.show(viewer.structures.keys(), true));
    on(".none", () => viewer.show(viewer.structures.keys(), false));
    const layers = this.find(".layers");
    if (layers) {
      layers.addEventListener("change", () => {
        viewer.layerChoice = layers.value;
        viewer.change();
      });
    }
  }

  table() {
    const { viewer } = this;
    for (const row of viewer.section.querySelectorAll("tr[data-structure]")) {
      const number = Number(row.dataset.structure);
      const box = row.querySelector("input");
      const swatch = row.querySelector(".swatch");
      swatch.style.backgroundColor = swatch.dataset.color;
      box.addEventListener("change", () => viewer.show([number], box.checked));
      row.addEventListener("click", (event) => {
        if (event.target !== box) viewer.goTo(number);
      });
      this.rows.set(number, { row, box });
    }
  }

  plane(plane) {
    const { viewer } = this;
    const { canvas, figure } = plane;
    const pager = figure.querySelector(".pager");
    pager.max = viewer.data.shape[plane.view.axis] - 1;
    pager.addEventListener("input", () => viewer.page(plane, Number(pager.value) - viewer.cross[plane.view.axis]));
    figure.querySelector(".enlarge").addEventListener("click", () => viewer.enlarge(plane));
    figure.addEventListener("pointerenter", () => {
      viewer.activePlane = plane;
    });
    canvas.addEventListener("focus", () => {
      viewer.activePlane = plane;
    });
    canvas.addEventListener("dblclick", () => viewer.enlarge(plane));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(plane, event), { passive: false });
    this.drag(plane);
  }

  /** Plain dragging moves the cross-hair; with the right button or Shift it changes the window. */
  drag(plane) {
    const { viewer } = this;
    const { canvas } = plane;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      viewer.activePlane = plane;
      canvas.setPointerCapture(event.pointerId);
      last = { x: event.clientX, y: event.clientY, windowing: event.button === 2 || event.shiftKey };
      if (!last.windowing) viewer.moveTo(plane.voxelAt(event.offsetX, event.offsetY, true));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) {
        this.hover = plane.voxelAt(event.offsetX, event.offsetY, false);
        this.showReadout();
      } else if (last.windowing) {
        const { level, width } = viewer.window;
        const across = (event.clientX - last.x) * DRAG_HU_PER_PIXEL;
        const down = (event.clientY - last.y) * DRAG_HU_PER_PIXEL;
        viewer.setWindow(level + down, width + across);
        last = { ...last, x: event.clientX, y: event.clientY };
      } else {
        viewer.moveTo(plane.voxelAt(event.offsetX, event.offsetY, true));
      }
    });
    const end = () => {
      last = null;
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => {
      this.hover = null;
      this.showReadout();
    });
  }

  /** One slice per notch; the many small steps of a touch pad are summed. With Ctrl it stays the browser's zoom. */
  wheel(plane, event) {
    if (event.ctrlKey) return;
    event.preventDefault();
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * WHEEL_STEP;
    this.turned = (this.turned || 0) + pixels;
    const slices = Math.abs(pixels) >= WHEEL_STEP ? Math.sign(pixels) : Math.trunc(this.turned / WHEEL_STEP);
    if (slices === 0) return;
    this.turned = 0;
    this.hover = null;
    this.viewer.page(plane, -slices);
  }

  otherPlane(step) {
    const { viewer } = this;
    const count = viewer.planes.length;
    const place = (viewer.planes.indexOf(viewer.activePlane) + step + count) % count;
    viewer.activePlane = viewer.planes[place];
    viewer.activePlane.canvas.focus({ preventScroll: true });
    viewer.redraw();
  }

  /** Acts on a key; false when it means nothing here. */
  key(event) {
    const preset = PRESETS[Number(event.key) - 1];
    if (preset) this.viewer.setWindow(preset.level, preset.width);
    else if (KEYS[event.key]) KEYS[event.key](this.viewer);
    else return false;
    return true;
  }

  /** Brings everything outside of the canvases up to date. */
  show() {
    const { viewer } = this;
    const { level, width } = viewer.window;
    this.set(".level", level, `${level} HU`);
    this.set(".width", width, `${width} HU`);
    this.set(".opacity", viewer.opacity, `${viewer.opacity} %`);
    this.presetButtons.forEach((button, place) => {
      const chosen = PRESETS[place].level === level && PRESETS[place].width === width;
      button.setAttribute("aria-pressed", String(chosen));
    });
    this.find(".overlays").setAttribute("aria-pressed", String(viewer.overlaysOn));
    const here = new Set(viewer.structuresAt(viewer.cross));
    for (const [number, { row, box }] of this.rows) {
      box.checked = viewer.visible[number] === 1;
      row.classList.toggle("here", here.has(number));
      row.classList.toggle("selected", number === viewer.selected);
    }
    for (const plane of viewer.planes) this.showPlane(plane);
    this.showReadout();
  }

  set(selector, value, text) {
    this.find(selector).value = value;
    this.find(`${selector}-value`).textContent = text;
  }

  showPlane(plane) {
    const { viewer } = this;
    const { axis } = plane.view;
    const { name, index, size } = viewer.scanIndex(axis, viewer.cross[axis]);
    const text = `${name} ${index} of ${size}`;
    plane.figure.querySelector(".plane-position").textContent = text;
    plane.figure.querySelector(".pager").value = viewer.cross[axis];
    plane.figure.classList.toggle("active", plane === viewer.activePlane);
    plane.canvas.setAttribute("aria-label", `${plane.name} plane, ${text}`);
  }

  showReadout() {
    const text = this.viewer.describe(this.hover || this.viewer.cross);
    this.find(".readout output").textContent = `${this.hover ? "pointer" : "cross-hair"}:  ${text}`;
  }
}
