skip "build" "comes with images from a distribution's ISO"
