// The page of `stylize web`: the split between photo and painting, and names for thumbnails.

// A split keeps its place when the next painting arrives.
window.stylizeSplit = function (input) {
  window.stylizeSplitAt = input.value;
  input.parentElement.style.setProperty("--at", input.value + "%");
};
window.stylizeSplitBegin = function (image) {
  var pair = image.closest(".split"), input = pair.querySelector("input");
  if (window.stylizeSplitAt !== undefined) { input.value = window.stylizeSplitAt; }
  pair.style.setProperty("--at", input.value + "%");
};
window.stylizeFull = function (button) {
  var pair = button.closest("figure").querySelector(".split");
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else if (pair.requestFullscreen) {
    pair.requestFullscreen();
  }
};
// Screen readers hear the names of thumbnails, and not only their numbers.
new MutationObserver(function () {
  document.querySelectorAll("button.thumbnail-item").forEach(function (button) {
    var image = button.querySelector("img");
    if (image && image.alt && button.getAttribute("aria-label") !== image.alt) {
      button.setAttribute("aria-label", image.alt);
      button.title = image.alt;
    }
  });
}).observe(document, { childList: true, subtree: true });
