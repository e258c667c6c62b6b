// The page of `stylize web`: the split between photo and painting.

// The place of the line belongs to the page, so that the next painting comes with the line where it was.
window.stylizeSplit = function (input) {
  window.stylizeSplitAt = input.value;
  document.documentElement.style.setProperty("--split-at", input.value + "%");
};
// Another split of the page, or one that was made anew, takes that place before it is moved.
window.stylizeSplitBegin = function (input) {
  if (window.stylizeSplitAt !== undefined && input.value !== window.stylizeSplitAt) {
    input.value = window.stylizeSplitAt;
  }
};
window.stylizeFull = function (button) {
  var pair = button.closest("figure").querySelector(".split");
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else if (pair.requestFullscreen) {
    pair.requestFullscreen();
  }
};
