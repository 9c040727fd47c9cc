/* Tables can be sorted by a heading and filtered by words; without scripts they are read as they stand. */
document.querySelectorAll("table.sortable").forEach(function (table) {
  var number = /((?:(?<= )-)?\d+(?:\.\d+)?(?:e[-+]?\d+)?)/;
  var body = table.tBodies[0], heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  function key(row, at) {
    var cell = row.cells[at], text = cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim();
    /* a number with its thousands apart, before its error in brackets, its mark or what it is of */
    var found = /^(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)!?(?:\/[\d,]+| \([^)]*\)!?)?$/.exec(text);
    if (found) { return Number(found[1].replace(/,/g, "")); }
    return text === "" || isNaN(text) ? text : Number(text);
  }
  function order(a, b) {
    var empty = function (x) { return x === "" || x === "-"; };
    if (empty(a) || empty(b)) { return empty(a) - empty(b); }
    if (typeof a === "number" && typeof b === "number") { return a - b; }
    /* words by their letters, the numbers among them by size */
    var one = String(a).split(number), other = String(b).split(number), apart = 0;
    for (var at = 0; !apart && at < Math.min(one.length, other.length); at += 1) {
      apart = at % 2 ? one[at] - other[at] : one[at].localeCompare(other[at]);
    }
    return apart || one.length - other.length;
  }
  Array.from(heads).forEach(function (head, at) {
    var button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      Array.from(heads).forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      Array.from(body.rows).map(function (row) { return [key(row, at), row]; })
        .sort(function (a, b) {
          var empty = a[0] === "" || a[0] === "-" || b[0] === "" || b[0] === "-";
          return (empty ? 1 : sign) * order(a[0], b[0]);
        }).forEach(function (pair) { body.append(pair[1]); });
    });
  });
  if (body.rows.length > 8) {
    var field = document.createElement("input");
    field.type = "search"; field.className = "filter"; field.placeholder = "filter rows";
    field.setAttribute("aria-label", "filter rows of " + (table.caption ? table.caption.textContent : "the table"));
    field.addEventListener("input", function () {
      var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      Array.from(body.rows).forEach(function (row) {
        var text = Array.from(row.cells, function (cell) { return cell.textContent; }).join(" ").toLowerCase();
        row.hidden = !words.every(function (word) { return text.includes(word); });
      });
    });
    table.parentNode.before(field);
  }
});
