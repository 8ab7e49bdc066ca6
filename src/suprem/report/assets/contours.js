// Outlines of the areas of one slice: marching squares, between the centres of voxels.

// Sides of a cell that an outline crosses, by which corners lie inside. Corners: 1 top left, 2 top right, 4 bottom right,
// 8 bottom left. Sides: 0 top, 1 right, 2 bottom, 3 left.
const CROSSINGS = [
  [], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2],
  [2, 3], [0, 2], [0, 1, 2, 3], [1, 2], [3, 1], [0, 1], [3, 0], [],
];
const SIDE_X = [1, 1.5, 1, 0.5];
const SIDE_Y = [0.5, 1, 1.5, 1];

/** Adds a border of one voxel of nothing, so that outlines close at the edge of the picture. */
function padded(ids, width, height) {
  const wide = width + 2;
  const out = new Uint16Array(wide * (height + 2));
  for (let row = 0; row < height; row += 1) {
    out.set(ids.subarray(row * width, (row + 1) * width), (row + 1) * wide + 1);
  }
  return out;
}

/**
 * Line segments around each area.
 * @param ids number of the area of each voxel, row by row; 0 is none.
 * @returns Map from number to [x1, y1, x2, y2, ...] in voxels, measured from the corner of the picture.
 */
function contours(ids, width, height) {
  const wide = width + 2;
  const grid = padded(ids, width, height);
  const lines = new Map();
  for (let row = 0; row <= height; row += 1) {
    for (let column = 0; column <= width; column += 1) {
      const at = row * wide + column;
      const a = grid[at];
      const b = grid[at + 1];
      const d = grid[at + wide];
      const c = grid[at + wide + 1];
      if (a === b && b === c && c === d) continue;
      addCell(lines, a, b, c, d, a, column - 1, row - 1);
      if (b !== a) addCell(lines, a, b, c, d, b, column - 1, row - 1);
      if (c !== a && c !== b) addCell(lines, a, b, c, d, c, column - 1, row - 1);
      if (d !== a && d !== b && d !== c) addCell(lines, a, b, c, d, d, column - 1, row - 1);
    }
  }
  return lines;
}

function addCell(lines, a, b, c, d, id, x, y) {
  if (id === 0) return;
  let points = lines.get(id);
  if (!points) {
    points = [];
    lines.set(id, points);
  }
  const sides = CROSSINGS[(a === id ? 1 : 0) | (b === id ? 2 : 0) | (c === id ? 4 : 0) | (d === id ? 8 : 0)];
  for (const side of sides) points.push(x + SIDE_X[side], y + SIDE_Y[side]);
}
