// The state of one viewer and what can be done with it. What the reader does arrives through controls.js.

const PRESETS = [
  { name: "Soft tissue", level: 40, width: 400 },
  { name: "Lung", level: -600, width: 1500 },
  { name: "Bone", level: 400, width: 1800 },
  { name: "Liver", level: 70, width: 150 },
  { name: "Vessels", level: 170, width: 600 },
  { name: "Whole range", level: 1024, width: 4096 },
];
const MAX_ZOOM = 8;
const MIN_WIDTH_HU = 10;

class Viewer {
  constructor(section) {
    this.section = section;
    this.data = JSON.parse(document.getElementById(`${section.id}-data`).textContent);
    this.structures = this.data.structures;
    this.visible = new Uint8Array(this.structures.length).fill(1);
    this.selected = -1;
    this.layerChoice = "0";
    this.opacity = 35;
    this.overlaysOn = true;
    this.crossOn = true;
    this.zoom = 1;
    this.cross = this.startingPlace();
    this.planes = [...section.querySelectorAll(".plane")].map((figure) => new Plane(this, figure));
    this.activePlane = this.planes[0];
    this.window = { ...PRESETS[0] };
    this.drawing = false;
    this.version = 0; // of everything but places that decides what a slice looks like
  }

  /** Unpacks the volumes, then draws for the first time. */
  async load() {
    const [x, y, z] = this.data.shape;
    const { id } = this.section;
    const count = x * y * z;
    const [codes, ...indices] = await Promise.all([
      unpack(`${id}-ct`, 1, count),
      ...this.data.layers.map((layer, number) => unpack(`${id}-layer-${number}`, layer.bytes, count)),
    ]);
    this.codes = codes;
    this.layers = this.data.layers.map((layer, number) => ({ ...layer, index: indices[number] }));
    this.updateTop();
    this.updateFills();
    this.controls = new Controls(this);
    this.setWindow(PRESETS[0].level, PRESETS[0].width);
    this.draw();
    this.section.dataset.state = "ready";
    performance.mark(`${id} drawn`);
    new ResizeObserver(() => this.redraw()).observe(this.section.querySelector(".planes"));
  }

  /** The middle of the largest structure, or of the scan. */
  startingPlace() {
    const largest = this.structures.reduce((best, item) => (item.voxels > (best ? best.voxels : 0) ? item : best), null);
    return largest ? [...largest.centre] : this.data.shape.map((n) => Math.floor(n / 2));
  }

  /** Draws before the next frame, once however much has changed until then. */
  redraw() {
    if (this.drawing || !this.codes) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  /** Draws anew what stayed on the same slice too. */
  change() {
    this.version += 1;
    this.redraw();
  }

  draw() {
    for (const plane of this.planes) plane.draw();
    this.controls.show();
  }

  shownLayers() {
    return this.layerChoice === "all" ? this.layers : this.layers.slice(Number(this.layerChoice), Number(this.layerChoice) + 1);
  }

  moveTo(voxel) {
    this.cross = voxel.map((n, axis) => Math.min(this.data.shape[axis] - 1, Math.max(0, n)));
    this.redraw();
  }

  page(plane, slices) {
    const voxel = [...this.cross];
    voxel[plane.view.axis] += slices;
    this.moveTo(voxel);
  }

  /** Centres all planes on a structure and makes it stand out. */
  goTo(number) {
    this.selected = number;
    this.visible[number] = 1;
    this.overlaysOn = true;
    this.updateTop();
    this.updateFills();
    this.change();
    this.moveTo(this.structures[number].centre);
  }

  show(numbers, shown) {
    for (const number of numbers) this.visible[number] = shown ? 1 : 0;
    this.updateTop();
    this.change();
  }

  setWindow(level, width) {
    this.window = { level: Math.round(level), width: Math.max(MIN_WIDTH_HU, Math.round(width)) };
    this.greys = greys(this.data.hu, this.window.level, this.window.width);
    this.change();
  }

  setOpacity(percent) {
    this.opacity = Math.min(100, Math.max(0, percent));
    this.updateFills();
    this.change();
  }

  setZoom(zoom) {
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, zoom));
    this.redraw();
  }

  reset() {
    this.zoom = 1;
    this.selected = -1;
    this.crossOn = true;
    this.cross = this.startingPlace();
    this.setWindow(PRESETS[0].level, PRESETS[0].width);
    this.setOpacity(35);
  }

  toggleOverlays() {
    this.overlaysOn = !this.overlaysOn;
    this.change();
  }

  enlarge(plane) {
    this.section.querySelector(".planes").dataset.main = plane.name;
    this.activePlane = plane;
    this.redraw();
  }

  updateTop() {
    for (const layer of this.layers) layer.top = topmost(layer.palette, this.structures, this.visible);
  }

  /** Per area number the colour of its fill, as the four bytes of a pixel. */
  updateFills() {
    this.fills = new Uint32Array(this.structures.length + 1);
    this.structures.forEach((item, number) => {
      const [red, green, blue] = rgbOf(item.color);
      const percent = this.opacity === 0 ? 0 : Math.min(100, this.opacity + (number === this.selected ? 20 : 0));
      this.fills[number + 1] = ((Math.round(percent * 2.55) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    });
  }

  /** Numbers of the structures at a voxel in the layers that are shown, whether drawn or not. */
  structuresAt(voxel) {
    const place = this.placeOf(voxel);
    return [...new Set(this.shownLayers().flatMap((layer) => layer.palette[layer.index[place]]))];
  }

  placeOf(voxel) {
    const stride = STRIDE(this.data.shape);
    return voxel[0] * stride[0] + voxel[1] * stride[1] + voxel[2] * stride[2];
  }

  /** Index on the scan's own grid along one axis of the page, with the scan's name for that axis. */
  scanIndex(axis, index) {
    const { name, size, flip } = this.data.axes[axis];
    const n = this.data.shape[axis];
    const scan = Math.min(size - 1, Math.floor(((index + 0.5) * size) / n));
    return { name, size, index: flip ? size - 1 - scan : scan };
  }

  /** What is at a voxel, in words. */
  describe(voxel) {
    const hu = this.data.hu[this.codes[this.placeOf(voxel)]];
    const own = voxel.map((index, axis) => this.scanIndex(axis, index)).sort((a, b) => (a.name < b.name ? -1 : 1));
    const mm = this.data.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
    const names = this.structuresAt(voxel).map((number) => this.structures[number].name);
    const where = own.map((axis) => `${axis.name} ${axis.index}`).join("  ");
    const ras = `${side(mm[0], "R", "L")}  ${side(mm[1], "A", "P")}  ${side(mm[2], "S", "I")} mm`;
    return `${names.join(", ") || "no structure"}  ·  about ${Math.round(hu)} HU  ·  voxel ${where}  ·  ${ras}`;
  }
}

function side(mm, positive, negative) {
  return `${mm < 0 ? negative : positive} ${Math.abs(mm).toFixed(0)}`;
}
