"""placeholder"""
def is_error_page(pixels): return False
