"""YolorNMS on a GPU."""
