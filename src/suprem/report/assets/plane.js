// One plane of a viewer: a canvas that shows a slice of the scan, its overlays and the cross-hair.

// Axes: 0 grows to the patient's right, 1 to the front, 2 to the head. Columns run against `across` and rows against
// `up`, so that the patient's right (the front, in the sagittal plane) is on the left of the picture.
const PLANES = {
  axial: { axis: 2, across: 0, up: 1, letters: ["R", "L", "A", "P"] },
  coronal: { axis: 1, across: 0, up: 2, letters: ["R", "L", "S", "I"] },
  sagittal: { axis: 0, across: 1, up: 2, letters: ["A", "P", "S", "I"] },
};
const CROSSHAIR = "rgba(255, 255, 255, 0.6)";
const REFERENCE = "#ffffff";
const SCALE_BAR_MM = 50;

class Plane {
  constructor(viewer, figure) {
    this.viewer = viewer;
    this.figure = figure;
    this.name = figure.dataset.plane;
    this.view = PLANES[this.name];
    this.canvas = figure.querySelector("canvas");
    // What is on it without the cross-hair stands on a second canvas, so that a plane whose slice stays is not redrawn.
    this.screen = this.canvas.getContext("2d", { alpha: false });
    this.context = document.createElement("canvas").getContext("2d", { alpha: false });
    this.drawn = "";
    const { shape, spacing } = viewer.data;
    this.columns = shape[this.view.across];
    this.rows = shape[this.view.up];
    this.spacing = [spacing[this.view.across], spacing[this.view.up]];
    this.slice = offscreen(this.columns, this.rows);
    this.paint = offscreen(this.columns, this.rows);
    this.ids = new Uint16Array(this.columns * this.rows);
  }

  /** Writes `table[value of the voxel]` of the present slice of a volume into `target`, row by row. */
  extract(volume, table, target) {
    const { across, up, axis } = this.view;
    const stride = STRIDE(this.viewer.data.shape);
    const start = this.viewer.cross[axis] * stride[axis];
    let place = 0;
    for (let row = this.rows - 1; row >= 0; row -= 1) {
      let voxel = start + row * stride[up] + (this.columns - 1) * stride[across];
      for (let column = 0; column < this.columns; column += 1) {
        target[place] = table[volume[voxel]];
        place += 1;
        voxel -= stride[across];
      }
    }
  }

  /** Follows the size of the element on the screen; true when there is something to draw on. */
  fit() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (!width || !height) return false;
    for (const canvas of [this.canvas, this.context.canvas]) {
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
    }
    const wide = this.columns * this.spacing[0];
    const high = this.rows * this.spacing[1];
    const scale = Math.min(width / wide, height / high) * this.viewer.zoom;
    this.ratio = ratio;
    this.scale = [scale * this.spacing[0], scale * this.spacing[1]];
    const [u, v] = this.crossPlace();
    this.origin = [
      origin(width, this.columns * this.scale[0], u * this.scale[0]),
      origin(height, this.rows * this.scale[1], v * this.scale[1]),
    ];
    return true;
  }

  /** The cross-hair in columns and rows of the picture. */
  crossPlace() {
    const { across, up } = this.view;
    const { cross } = this.viewer;
    return [this.columns - 0.5 - cross[across], this.rows - 0.5 - cross[up]];
  }

  /** The voxel under a place of the element, in CSS pixels; null outside of the picture unless `clamp`. */
  voxelAt(x, y, clamp) {
    let column = Math.floor((x * this.ratio - this.origin[0]) / this.scale[0]);
    let row = Math.floor((y * this.ratio - this.origin[1]) / this.scale[1]);
    if (clamp) {
      column = Math.min(this.columns - 1, Math.max(0, column));
      row = Math.min(this.rows - 1, Math.max(0, row));
    } else if (column < 0 || row < 0 || column >= this.columns || row >= this.rows) {
      return null;
    }
    const voxel = [...this.viewer.cross];
    voxel[this.view.across] = this.columns - 1 - column;
    voxel[this.view.up] = this.rows - 1 - row;
    return voxel;
  }

  draw() {
    if (!this.fit()) return;
    const { viewer, canvas } = this;
    const slice = viewer.cross[this.view.axis];
    const wanted = [slice, viewer.version, canvas.width, canvas.height, ...this.origin, ...this.scale].join();
    if (wanted !== this.drawn) {
      this.drawSlice();
      this.drawn = wanted;
    }
    this.screen.drawImage(this.context.canvas, 0, 0);
    if (viewer.crossOn) this.drawCross();
  }

  drawSlice() {
    const { context, viewer } = this;
    context.fillStyle = "#000";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    this.extract(viewer.codes, viewer.greys, this.slice.pixels);
    this.place(this.slice);
    if (viewer.overlaysOn) viewer.shownLayers().forEach((layer, order) => this.drawLayer(layer, order > 0));
    this.drawLetters();
  }

  place(source) {
    source.context.putImageData(source.image, 0, 0);
    this.context.imageSmoothingEnabled = true;
    this.context.imageSmoothingQuality = "high";
    const [x, y] = this.origin;
    this.context.drawImage(source.canvas, x, y, this.columns * this.scale[0], this.rows * this.scale[1]);
  }

  /** Areas with outlines; of a layer on top of another the outlines alone, in white. */
  drawLayer(layer, outlineOnly) {
    const { ids } = this;
    this.extract(layer.index, layer.top, ids);
    const { fills, selected, structures } = this.viewer;
    if (!outlineOnly) {
      const { pixels } = this.paint;
      for (let place = 0; place < ids.length; place += 1) pixels[place] = fills[ids[place]];
      this.place(this.paint);
    }
    const lines = [...contours(ids, this.columns, this.rows)];
    lines.sort((one, other) => structures[other[0] - 1].voxels - structures[one[0] - 1].voxels);
    for (const [id, points] of lines) {
      const color = outlineOnly ? REFERENCE : structures[id - 1].color;
      this.stroke(points, color, id - 1 === selected ? 2.6 : 1.4);
    }
  }

  stroke(points, color, width) {
    const { context } = this;
    const [x, y] = this.origin;
    const [across, down] = this.scale;
    context.beginPath();
    for (let i = 0; i < points.length; i += 4) {
      context.moveTo(x + points[i] * across, y + points[i + 1] * down);
      context.lineTo(x + points[i + 2] * across, y + points[i + 3] * down);
    }
    context.strokeStyle = color;
    context.lineWidth = width * this.ratio;
    context.stroke();
  }

  drawCross() {
    const { screen: context, canvas, ratio } = this;
    const [u, v] = this.crossPlace();
    const x = Math.round(this.origin[0] + u * this.scale[0]) + 0.5;
    const y = Math.round(this.origin[1] + v * this.scale[1]) + 0.5;
    const gap = 9 * ratio;
    context.beginPath();
    for (const [x1, y1, x2, y2] of [
      [0, y, x - gap, y],
      [x + gap, y, canvas.width, y],
      [x, 0, x, y - gap],
      [x, y + gap, x, canvas.height],
    ]) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = ratio;
    context.stroke();
  }

  /** Where the patient's sides are, and how long five centimetres are. */
  drawLetters() {
    const { context, canvas, ratio } = this;
    const [left, right, top, bottom] = this.view.letters;
    const inset = 12 * ratio;
    context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "rgba(0, 0, 0, 0.7)";
    context.fillStyle = "#fff";
    for (const [letter, x, y] of [
      [left, inset, canvas.height / 2],
      [right, canvas.width - inset, canvas.height / 2],
      [top, canvas.width / 2, inset],
      [bottom, canvas.width / 2, canvas.height - inset],
    ]) {
      context.strokeText(letter, x, y);
      context.fillText(letter, x, y);
    }
    const length = (SCALE_BAR_MM * this.scale[0]) / this.spacing[0];
    if (length > canvas.width * 0.45) return;
    const x = canvas.width - inset - length;
    const y = canvas.height - inset;
    context.fillRect(x, y, length, 2 * ratio);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.strokeText("5 cm", x + length / 2, y - 8 * ratio);
    context.fillText("5 cm", x + length / 2, y - 8 * ratio);
  }
}

function offscreen(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  return { canvas, context, image, pixels: new Uint32Array(image.data.buffer) };
}

/** Where a picture of `size` starts in `room`: centred where it fits, else with the cross-hair as close to the middle. */
function origin(room, size, focus) {
  if (size <= room) return (room - size) / 2;
  return Math.min(0, Math.max(room - size, room / 2 - focus));
}
